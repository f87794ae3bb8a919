// Sends the messages of standard input (a JSON list of texts), each when the one before was answered, over one
// connection, and prints the answers (a JSON list of texts): node client.cjs LIBRARY PORT
'use strict'
const [library, port] = [process.argv[2], Number(process.argv[3])]

const clients = {
  'simple-hl7': (messages) => {
    const hl7 = require('simple-hl7')
    const client = hl7.Server.createTcpClient({ host: '127.0.0.1', port, keepalive: true })
    const parser = new hl7.Parser({ segmentSeperator: '\r' })
    const say = (text) => new Promise((resolve, reject) =>
      client.send(parser.parse(text), (error, answer) => (error ? reject(error) : resolve(answer.toString()))))
    return { say, close: () => client.close() }
  },
  'node-hl7-client': () => {
    const { Client, Message } = require('node-hl7-client')
    let heard = () => {}
    const connection = new Client({ host: '127.0.0.1' }).createConnection({ port, waitAck: true }, (response) =>
      heard(response.getMessage().toString()))
    const say = (text) => new Promise((resolve, reject) => {
      heard = resolve
      connection.sendMessage(new Message({ text })).catch(reject)
    })
    return { say, close: () => connection.close() }
  }
}

async function main () {
  const messages = JSON.parse(require('fs').readFileSync(0, 'utf8'))
  const client = clients[library](messages)
  const answers = []
  for (const message of messages) answers.push(await client.say(message))
  process.stdout.write(JSON.stringify(answers) + '\n')
  await client.close()
  process.exit(0)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
