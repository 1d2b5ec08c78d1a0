// An OAuth client, which revokes or introspects a token. It prints the result as JSON.
// Arguments: what to do, the URL of the app, the client's id, its secret, and the token.
import * as client from 'openid-client'

const [action, app, id, secret, token, hint] = process.argv.slice(2)
const config = new client.Configuration(
  {
    issuer: app,
    revocation_endpoint: `${app}/auth/revoke`,
    introspection_endpoint: `${app}/auth/introspect`,
  },
  id,
  undefined,
  hint === 'post' ? client.ClientSecretPost(secret) : client.ClientSecretBasic(secret),
)
client.allowInsecureRequests(config)
try {
  const call = action === 'revoke' ? client.tokenRevocation : client.tokenIntrospection
  const answer = await call(config, token)
  console.log(JSON.stringify(answer ?? null))
} catch (error) {
  console.log(JSON.stringify({ error: error.error ?? error.code, status: error.status }))
}
