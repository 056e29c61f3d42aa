// Prints the specification's conformance cases as JSON, a line each: the file, the section, the case as the package has it, and
// what the specification's own checker says of it. Called with the folder that the package is installed in.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const NAME = "@bufbuild/cel-spec";

const folder = resolve(process.argv[2]);
const installed = JSON.parse(readFileSync(`${folder}/node_modules/${NAME}/package.json`, "utf8")).version;
const pinned = JSON.parse(readFileSync(new URL("../../../../tests/npm/package.json", import.meta.url), "utf8")).dependencies[NAME];
if (installed !== pinned) {
  console.error(`${NAME} ${installed} is installed, and ${pinned} is asked for; run .ci/run, or install it anew`);
  process.exit(1);
}

const { tests } = createRequire(`${folder}/`)(`${NAME}/testdata/conformance.js`);

// JSON writes -0 as 0, and some cases are about just that.
const exact = (_, value) => (Object.is(value, -0) ? "-0.0" : value);

for (const file of tests.suites) {
  for (const section of file.suites ?? []) {
    for (const { original, error } of section.tests ?? []) {
      process.stdout.write(`${JSON.stringify({ file: file.name, section: section.name, case: original, checker: error }, exact)}\n`);
    }
  }
}
