// Segment's own destination on parsed events, vendors answering inside this process.
// node onbatch.js KIND EVENTS.ndjson TIMES → {"rates": [events a second…], "identifiers": in one pass}
//
// Mappings are the actions' defaults, but for what cannot be default here: StackAdapt's email stands in
// context.traits, and what Segment itself adds to an event for Taboola (the audience's id and settings) is added before.

const fs = require('node:fs')

const ANSWERS = [
  ['/token', { access_token: 'token', expires_in: 43200 }],
  ['/search', { data: [{ id: '1', attributes: { name: 'vip_buyers' } }], meta: { totalItems: 1 } }],
  ['/contact-list', { data: { attributes: { nbInvalidIdentifiers: 0, sampleInvalidIdentifiers: [] } } }],
  ['/audience_onboarding', {}],
  ['/graphql', { data: { upsertProfiles: { userErrors: [] } } }],
].map(([place, answer]) => [place, JSON.stringify(answer)])
const BATCH = 1000
const FOLDER = '@segment/action-destinations/dist/destinations'

let counting = false
let identifiers = 0

answerHere()
const { defaultValues, Destination } = require('@segment/actions-core')

/** Put our own answers where the library would open a connection. */
function answerHere() {
  const real = require('cross-fetch')
  const answer = async (request) => {
    const url = request.url.split('?')[0]
    const found = ANSWERS.find(([place]) => url.endsWith(place))
    if (!found) throw new Error(`nobody answers ${url}`)
    if (counting) count(await request.text())
    return new real.Response(found[1], { status: 200, headers: { 'content-type': 'application/json' } })
  }
  require.cache[require.resolve('cross-fetch')].exports = Object.assign(answer, real)
}

function count(body) {
  identifiers += body.match(/@|EMAIL_ID/g)?.length ?? 0
}

async function main(kind, file, times) {
  const events = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map(JSON.parse)
  const { definition, settings, enrich } = KINDS[kind]()
  events.forEach(enrich)
  const destination = new Destination(definition)
  counting = true
  await pass(destination, settings, events)
  counting = false
  const rates = []
  for (let time = 0; time < Number(times); time++) {
    const started = process.hrtime.bigint()
    await pass(destination, settings, events)
    rates.push(events.length / (Number(process.hrtime.bigint() - started) / 1e9))
  }
  console.log(JSON.stringify({ rates, identifiers }))
}

async function pass(destination, settings, events) {
  for (let start = 0; start < events.length; start += BATCH) {
    const results = await destination.onBatch(events.slice(start, start + BATCH), settings)
    const taken = results.flatMap((result) => result.multistatus ?? []).filter((each) => each.status === 200)
    if (taken.length !== Math.min(BATCH, events.length - start)) throw new Error(`${taken.length} events were taken`)
  }
}

function subscription(definition, partnerAction, mapping = {}) {
  const action = definition.actions[partnerAction]
  return {
    partnerAction,
    subscribe: action.defaultSubscription,
    mapping: { ...defaultValues(action.fields), ...mapping },
  }
}

function configured(folder, settings, actions, enrich = () => {}) {
  const definition = require(`${FOLDER}/${folder}`).default
  const subscriptions = actions.map(([name, mapping]) => subscription(definition, name, mapping))
  return { definition, settings: { ...settings, subscriptions }, enrich }
}

const CLIENT = { client_id: 'relay', client_secret: 'secret' }
const KINDS = {
  criteo: () =>
    configured('criteo-audiences', { ...CLIENT, advertiser_id: '4711' }, [['addUserToAudience'], ['removeUserFromAudience']]),
  taboola: () =>
    configured('taboola-actions', { ...CLIENT, oauth: { access_token: 'token' } }, [['syncAudience']], (event) => {
      event.context.personas.external_audience_id = '49'
      event.context.personas.audience_settings = { account_id: 'my-account' }
    }),
  stackadapt: () => {
    const mapping = { email: { '@path': '$.context.traits.email' }, marketing_status: 'Indeterminate' }
    return configured('stackadapt-audiences', { apiKey: 'token', advertiser_id: '2029' }, [['forwardAudienceEvent', mapping]])
  },
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
