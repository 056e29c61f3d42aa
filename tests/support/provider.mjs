// A real OpenID provider on a free port of this machine, with the keys and clients of the tests.
//
// Its first argument is the folder with the npm packages. It writes its URL as one line, then reads one command for
// each line and answers with `done`: `rotate` replaces the signing keys, `regroup` moves everybody to the group
// `guests`, `down` closes the port, `up` opens it again, `redirect <uri>` lets clients send people back to this URI,
// `logout <uri>` reports logouts there,
// `clock <seconds>` sets its clock forward, `remove <account>` closes the account of a person.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

// Only the answers below go to the standard output.
console.info = console.error;
console.log = console.error;

const packages = join(process.argv[2], 'node_modules');
const { Provider } = await import(pathToFileURL(join(packages, 'oidc-provider/lib/index.js')));
const redirects = ['https://ensue.example.test/api/v1/auth/oidc/callback/corp'];
const audience = 'https://ensue.example.test';

const machine = Date.now;
let generation = 0;
let groups = ['release', 'ops'];
const removed = new Set();
let logouts;

function keys() {
  generation += 1;
  const key = (alg, type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${generation}`,
  });
  return { keys: [
    key('RS256', 'rsa', { modulusLength: 2048 }),
    key('PS256', 'rsa', { modulusLength: 2048 }),
    key('ES256', 'ec', { namedCurve: 'P-256' }),
    key('ES384', 'ec', { namedCurve: 'P-384' }),
    key('EdDSA', 'ed25519'),
  ] };
}

const algorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];

function client(client_id, options) {
  return {
    client_id, redirect_uris: redirects, grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'], client_secret: 'a secret of 32 bytes + and: more!',
    ...(logouts && { backchannel_logout_uri: logouts, backchannel_logout_session_required: client_id !== 'posts' }), ...options,
  };
}

function made(issuer) {
  const provider = new Provider(issuer, {
    jwks: keys(),
    clients: [
      ...algorithms.map((alg) => client(alg, { id_token_signed_response_alg: alg })),
      client('posts', { token_endpoint_auth_method: 'client_secret_post' }),
      client('public', {
        client_secret: undefined, token_endpoint_auth_method: 'none', grant_types: ['authorization_code'],
      }),
    ],
    enabledJWA: { idTokenSigningAlgValues: algorithms },
    pkce: { required: () => true },
    // Each login gets a refresh token, which works once: its successor comes with the answer.
    issueRefreshToken: (ctx, found) => found.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: () => true,
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    findAccount: (_, id) => removed.has(id) ? undefined : ({
      accountId: id,
      claims: () => ({
        sub: id, preferred_username: id, email: `${id}@example.test`, email_verified: true, groups,
      }),
    }),
    cookies: { keys: ['a key of the tests'] },
    // The node listens on this machine, where the provider would not connect.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    features: {
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'api', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: ctx.oidc.client.clientId } },
        }),
      },
    },
    ttl: { Session: 86400, Interaction: 600, Grant: 86400, IdToken: 600 },
  });
  return provider.callback();
}

let handle = (_, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `http://127.0.0.1:${port}`;
  handle = made(issuer);
  process.stdout.write(`${issuer}\n`);
  createInterface({ input: process.stdin }).on('line', (command) => {
    const done = () => process.stdout.write('done\n');
    if (command.startsWith('redirect ')) {
      redirects.push(command.slice('redirect '.length));
      handle = made(issuer);
      done();
    } else if (command.startsWith('clock ')) {
      const ahead = Number(command.slice('clock '.length)) * 1000;
      Date.now = () => machine() + ahead;
      done();
    } else if (command.startsWith('logout ')) {
      logouts = command.slice('logout '.length);
      handle = made(issuer);
      done();
    } else if (command.startsWith('remove ')) {
      removed.add(command.slice('remove '.length));
      done();
    } else if (command === 'rotate') {
      handle = made(issuer);
      done();
    } else if (command === 'regroup') {
      groups = ['guests'];
      done();
    } else if (command === 'down') {
      server.closeAllConnections();
      server.close(done);
    } else if (command === 'up') {
      server.listen(port, '127.0.0.1', done);
    }
  }).on('close', () => process.exit(0));
});
