// Signs and verifies deliveries with the vendors' own packages. Reads lines of JSON, and answers each with one.
//
// {"scheme": "stripe", "key": "…", "body": "…", "id": "…", "sign": true}   -> {"headers": {…}}
// {"scheme": "stripe", "key": "…", "body": "…", "headers": {…}}            -> {"valid": true}
import { createRequire } from 'node:module';
import { once } from 'node:events';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { createHmac, generateKeyPairSync, sign as signWith } from 'node:crypto';

const require = createRequire(`${process.argv[2]}/`);
const { default: Stripe } = await import(require.resolve('stripe'));
const { Webhook } = require('standardwebhooks');
const { Webhook: Svix } = require('svix');
const octokit = await import(process.argv[2] + '/node_modules/@octokit/webhooks-methods/dist-node/index.js').catch(() =>
  import(process.argv[2] + '/node_modules/@octokit/webhooks-methods/dist-bundle/index.js'),
);
const { verifyKey } = require('discord-interactions');
const SnsValidator = require('sns-validator');
const { LinearWebhookClient } = await import(process.argv[2] + '/node_modules/@linear/sdk/dist/webhooks/index.mjs');
require('@shopify/shopify-api/adapters/node');
const { ApiVersion, LogSeverity, shopifyApi } = require('@shopify/shopify-api');
const { createSHA256HMAC } = require('@shopify/shopify-api/runtime');

let server;
let served;

const shopify = (apiSecretKey) =>
  shopifyApi({
    apiKey: 'unused',
    apiSecretKey,
    apiVersion: Object.values(ApiVersion)[0],
    hostName: 'shop.example.test',
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error, log: async () => {} },
  });
// What Shopify's package demands in addition to the signature.
const shopifyHeaders = {
  'x-shopify-topic': 'orders/create',
  'x-shopify-shop-domain': 'mill.myshopify.com',
  'x-shopify-api-version': '2026-01',
  'x-shopify-webhook-id': '1',
};

const stripe = new Stripe('sk_test_unused');
const seconds = () => Math.floor(Date.now() / 1000);

const schemes = {
  github: {
    sign: async ({ key, body }) => ({ 'x-hub-signature-256': await octokit.sign(key, body) }),
    valid: ({ key, body, headers }) => octokit.verify(key, body, headers['x-hub-signature-256']),
  },
  stripe: {
    sign: async ({ key, body }) => ({
      'stripe-signature': await stripe.webhooks.generateTestHeaderStringAsync({ payload: body, secret: key }),
    }),
    valid: ({ key, body, headers }) => !!stripe.webhooks.constructEvent(body, headers['stripe-signature'], key),
  },
  shopify: {
    sign: async ({ key, body }) => ({ 'x-shopify-hmac-sha256': await createSHA256HMAC(key, body, 'base64') }),
    valid: async ({ key, body, headers }) => {
      const rawRequest = { method: 'POST', url: '/', headers: { ...shopifyHeaders, ...headers } };
      return (await shopify(key).webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
    },
  },
  // Linear's package only verifies, so this signs, and the package confirms what was signed.
  linear: {
    sign: ({ key, body }) => {
      const signature = createHmac('sha256', key).update(body).digest('hex');
      new LinearWebhookClient(key).verify(Buffer.from(body), signature);
      return { 'linear-signature': signature };
    },
    valid: ({ key, body, headers }) => new LinearWebhookClient(key).verify(Buffer.from(body), headers['linear-signature']),
  },
  standard: {
    sign: ({ key, body, id }) => {
      const now = new Date();
      return {
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(key).sign(id, now, body),
      };
    },
    valid: ({ key, body, headers }) => !!new Webhook(key).verify(body, headers),
  },
  svix: {
    sign: ({ key, body, id }) => {
      const now = new Date();
      return {
        'svix-id': id,
        'svix-timestamp': String(Math.floor(now.getTime() / 1000)),
        'svix-signature': new Svix(key).sign(id, now, body),
      };
    },
    valid: ({ key, body, headers }) => !!new Svix(key).verify(body, headers),
  },
  // The package fetches the certificate over TLS, so this serves it. The test names the authority in NODE_EXTRA_CA_CERTS.
  sns: {
    sign: async ({ body, tls, signer }) => {
      served = signer;
      server ??= createServer({ cert: tls.cert, key: tls.key }, (request, response) => response.end(served)).listen(0, '127.0.0.1');
      server.unref();
      if (!server.listening) await once(server, 'listening');
      return { address: `localhost:${server.address().port}` };
    },
    valid: ({ body }) =>
      new Promise((resolve, reject) =>
        new SnsValidator(/^localhost:[0-9]+$/).validate(body, (error) => (error ? reject(error) : resolve(true))),
      ),
  },
  // Discord signs with a key of its own, so this makes one, and Discord's package confirms what was signed.
  discord: {
    sign: async ({ body }) => {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const key = Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url').toString('hex');
      const time = String(seconds());
      const signature = signWith(null, Buffer.from(time + body), privateKey).toString('hex');
      if (!(await verifyKey(body, signature, time, key))) throw new Error('Discord rejects it');
      return { 'x-signature-ed25519': signature, 'x-signature-timestamp': time, key };
    },
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const scheme = schemes[asked.scheme];
  let answer;
  if (asked.sign) answer = { headers: await scheme.sign(asked) };
  else
    answer = {
      valid: await Promise.resolve()
        .then(() => scheme.valid(asked))
        .catch(() => false),
    };
  console.log(JSON.stringify(answer));
}
