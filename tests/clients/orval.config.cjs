module.exports = {
  ensue: {
    input: "./openapi.json",
    output: {
      target: "./made/orval.ts",
      client: "fetch",
      mode: "single",
      // The paths of the document have no host: this adds the node's, and the token.
      override: { mutator: { path: "./ask.ts", name: "ask" } },
    },
  },
};
