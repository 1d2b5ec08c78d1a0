// An OpenID provider, with one client and one user, which sends back-channel logouts.
// Arguments: its port, the URL of the app, and the public keys of its second client.
import Provider from 'oidc-provider'

const [port, app, jwks] = process.argv.slice(2)
const issuer = `http://127.0.0.1:${port}`
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'app',
    client_secret: 'secret',
    redirect_uris: [`${app}/callback`],
    backchannel_logout_uri: `${app}/auth/backchannel-logout`,
    backchannel_logout_session_required: true,
    grant_types: ['authorization_code', 'refresh_token'],
    post_logout_redirect_uris: [`${app}/bye`],
  }, {
    client_id: 'app with a key',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: JSON.parse(jwks),
    redirect_uris: [`${app}/callback`],
  }],
  features: {
    backchannelLogout: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // By default, it sends no requests to addresses of this machine.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => false },
  scopes: ['openid', 'offline_access'],
  issueRefreshToken: async () => true,
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ['a key for the cookies of this test'] },
  ttl: { Session: 3600, Grant: 3600, Interaction: 3600, AccessToken: 3600, IdToken: 3600, RefreshToken: 3600 },
})
provider.on('backchannel.success', () => console.log('backchannel.success'))
provider.on('backchannel.error', (_, error) => console.log(`backchannel.error ${error.message} ${error.cause}`))
provider.on('grant.revoked', () => console.log('grant.revoked'))
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'))
