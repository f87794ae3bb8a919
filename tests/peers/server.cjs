// Answers every message that comes, and prints it (a JSON text a line) after a first line with the port on loopback:
// node server.cjs LIBRARY
'use strict'
const net = require('net')
const library = process.argv[2]

// Both listen on every address of the machine by themselves.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (_where, ...others) {
  this.once('listening', () => say(this.address().port))
  return listen.call(this, { host: '127.0.0.1', port: 0 }, ...others)
}
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const servers = {
  'simple-hl7': () => {
    const hl7 = require('simple-hl7')
    const server = hl7.Server.createTcpServer({ parser: new hl7.Parser({ segmentSeperator: '\r' }) }, (error, request, response) => {
      if (error) return
      say(request.raw)
      response.end()
    })
    server.start(0)
  },
  'node-hl7-server': () => {
    const { Server } = require('node-hl7-server')
    const inbound = new Server({ bindAddress: '127.0.0.1' }).createInbound({ port: 2575 }, async (_request, response) => {
      await response.sendResponse('AA')
    })
    inbound.on('data.raw', say)
  }
}

servers[library]()
