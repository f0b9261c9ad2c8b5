// Runs the suite's own client. An order comes as JSON on standard input, the results leave as JSON on standard output.
//
// order: suite, its folder; base, the origin's address; ids, the tests to run or null for all; extra, suites of our
// own; parallel, how many tests run at a time; trace, whether to tell what each request and response was.

import http from 'node:http'
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const ANSWER_MS = 20_000 // the suite sets no limit, and one answer that never comes would stop everything

const order = JSON.parse(await text(process.stdin))
const load = name => import(pathToFileURL(`${order.suite}/${name}`).href)
const nodeFetch = createRequire(`${order.suite}/`)('node-fetch')
const config = await load('client/config.mjs')
const { makeCacheTest, testResults, testUUIDs } = await load('client/test.mjs')
const suites = [
  ...(await load('tests/index.mjs')).default, (await load('tests/surrogate-control.mjs')).default, ...order.extra
]
const tests = suites.flatMap(suite => suite.tests.map(test => ({ suite, test })))
const expectedInterim = new Map(tests.flatMap(({ test }) => test.requests.flatMap((step, index) =>
  'expected_interim_responses' in step ? [[`${test.id} ${index + 1}`, step.expected_interim_responses]] : [])))
const traces = new Map()
// Some tests leave a connection in no state for the next one to use.
const agent = new http.Agent({ keepAlive: false })

async function fetch (url, init = {}) {
  const given = name => (init.headers ?? []).find(header => header[0] === name)?.[1]
  const id = given('Test-ID')
  const wanted = expectedInterim.get(`${id} ${given('Req-Num')}`)
  const response = await (wanted ? fetchWithInterim(url, init, wanted) : nodeFetch(url, { timeout: ANSWER_MS, agent, ...init }))
  return order.trace && id !== undefined ? note(id, url, init, response) : response
}

async function note (id, url, init, response) {
  const body = await response.text().then(value => ({ value }), error => ({ error, value: `[${error.message}]` }))
  const { pathname, search } = new URL(url)
  const lines = Object.entries(response.headers.raw?.() ?? Object.fromEntries(response.headers))
  if (!traces.has(id)) traces.set(id, [])
  traces.get(id).push({
    method: init.method ?? 'GET',
    target: pathname + search,
    request: init.headers,
    status: response.status,
    response: lines.flatMap(([name, values]) => [values].flat().map(value => [name, value])),
    body: body.value
  })
  const text = async () => { if (body.error) throw body.error; return body.value }
  return { status: response.status, headers: response.headers, text }
}

// The suite's client hears only of final responses.
function fetchWithInterim (url, init, wanted) {
  return new Promise((resolve, reject) => {
    const heard = []
    const request = http.request(url, { agent, method: init.method, headers: Object.fromEntries(init.headers ?? []) })
    request.setTimeout(ANSWER_MS, () => request.destroy(new Error('no answer')))
    request.on('information', interim => heard.push(interim))
    request.on('error', reject)
    request.on('response', async incoming => {
      const body = await text(incoming)
      const lost = wanted.find(([status, headers = []], index) => heard[index]?.statusCode !== status ||
        headers.some(([name, value]) => heard[index].headers[name.toLowerCase()] !== value))
      if (lost !== undefined) {
        const failure = new Error(`Interim response ${lost[0]} was not passed on`)
        reject(Object.assign(failure, { name: 'Assertion' }))
      }
      resolve({ status: incoming.statusCode, headers: new Headers(incoming.headers), text: async () => body })
    })
    request.end()
  })
}

async function worker (waiting) {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await makeCacheTest(next)
}

config.setFetch(fetch)
config.setBaseUrl(order.base)
config.setUseBrowserCache(false)
const chosen = tests.filter(({ test }) => !test.browser_only && (order.ids === null || order.ids.includes(test.id)))
const waiting = chosen.map(({ test }) => test)
await Promise.all(Array.from({ length: order.parallel }, () => worker(waiting)))

const states = new Map()
if (order.trace) {
  for (const { test } of chosen) {
    const state = await nodeFetch(`${order.base}/state/${testUUIDs[test.id]}`)
    states.set(test.id, state.ok ? await state.json() : [])
  }
}
process.stdout.write(JSON.stringify(chosen.map(({ suite, test }) => ({
  id: test.id,
  suite: suite.id,
  name: test.name,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  result: testResults[test.id] ?? null,
  steps: order.trace ? test.requests : [],
  exchanges: traces.get(test.id) ?? [],
  seen: states.get(test.id) ?? []
}))))
