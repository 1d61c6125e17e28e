/*
 * A sensor made with npm's stompit, led by a test: one JSON command a line on standard input; on standard output one JSON line for
 * each command's end ({"of": its number}) and for each thing that happens ({"on": what}). Bodies are base64. It judges nothing.
 */
'use strict';

const fs = require('fs');
const readline = require('readline');
const stompit = require('stompit');

const clients = new Map(); // name → {client, ended, messages, transactions, subscriptions} or {channel}

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function describe(error) {
  const is = (kind) => typeof error[kind] === 'function' && error[kind]();

  return {
    message: error.message, longMessage: error.longMessage, code: error.code,
    kind: is('isApplicationError') ? 'application' : is('isProtocolError') ? 'protocol' : is('isTransportError') ? 'transport' : 'other',
  };
}

// ---- connections ----------------------------------------------------------------------------------

function tls(command) {
  const read = (name) => command[name] && fs.readFileSync(command[name]);

  return { ssl: true, ca: read('ca'), cert: read('cert'), key: read('key'), pfx: read('pfx'), passphrase: command.passphrase };
}

function keep(name, client) {
  const one = { client, messages: new Map(), transactions: new Map(), subscriptions: new Map() };

  clients.set(name, one);
  client.on('error', (error) => {
    one.ended = error;
    say({ on: 'error', client: name, ...describe(error) });
  });
  client.on('end', () => say({ on: 'end', client: name }));
}

function connect(command) {
  return new Promise((resolve, reject) => {
    const done = (error, client, again, server) => {
      if (error) {
        reject(error);
        return;
      }
      keep(command.client, client);
      resolve({ headers: client.headers, tls: client.getTransportSocket().getProtocol(), port: server && server.serverProperties.connectOptions.port });
    };

    if (command.failover) {
      failover(command).connect(done);
      return;
    }
    stompit.connect({ host: 'localhost', port: command.port, timeout: 20000, ...tls(command), ...command.options, connectHeaders: command.headers }, done);
  });
}

// With an address such as "failover:(stomp+ssl://…)?…", or with a list of {port} and the options of one connection for all.
function failover(command) {
  const options = { connect: { timeout: 20000, ...tls(command), connectHeaders: command.headers }, ...command.options };
  const made = new stompit.ConnectFailover(command.failover, options);

  made.on('error', (error) => say({ on: 'attempt', client: command.client, ...describe(error) }));
  return made;
}

function disconnect(command) {
  return new Promise((resolve, reject) => {
    clients.get(command.client).client.disconnect((error) => (error ? reject(error) : resolve({})));
  });
}

// As when the machine loses power: nothing is said.
async function cut(command) {
  const { client } = clients.get(command.client);

  client.removeAllListeners('error').on('error', () => {});
  client.destroy();
  return {};
}

// ---- deposits ---------------------------------------------------------------------------------------

function writeBody(frame, command) {
  const body = Buffer.from(command.body, 'base64');

  for (let at = 0; at < body.length; at += 16384) {
    frame.write(body.subarray(at, at + 16384));
  }
  frame.end();
}

function send(command) {
  const { client, transactions } = clients.get(command.client);
  const from = command.transaction === undefined ? client : transactions.get(command.transaction);

  return new Promise((resolve, reject) => {
    const receipt = command.receipt === false ? undefined : { onReceipt: () => resolve({}), onError: reject };

    writeBody(from.send(command.headers, receipt), command);
    if (!receipt) {
      resolve({});
    }
  });
}

async function begin(command) {
  const { client, transactions } = clients.get(command.client);

  transactions.set(command.transaction, client.begin({ transaction: command.transaction }));
  return {};
}

function end(command) {
  const { transactions } = clients.get(command.client);

  return new Promise((resolve, reject) => {
    transactions.get(command.transaction)[command.do]({ onReceipt: () => resolve({}), onError: reject });
  });
}

// ---- answers ------------------------------------------------------------------------------------------

async function subscribe(command) {
  const { client, messages, subscriptions } = clients.get(command.client);
  const heard = (error, message) => {
    const parts = [];

    if (error) {
      return; // the client's own 'error' tells it
    }
    messages.set(message.headers['message-id'], message);
    message.on('data', (part) => parts.push(part));
    message.on('end', () => say({ on: 'message', client: command.client, headers: message.headers, body: Buffer.concat(parts).toString('base64') }));
  };

  subscriptions.set(command.headers.id, client.subscribe(command.headers, heard));
  return {};
}

async function unsubscribe(command) {
  clients.get(command.client).subscriptions.get(command.subscription).unsubscribe();
  return {};
}

// ack or nack of a message heard before, with a receipt, in a transaction or not.
function settle(command) {
  const { client, messages } = clients.get(command.client);
  const headers = command.transaction === undefined ? {} : { transaction: command.transaction };

  return new Promise((resolve, reject) => {
    client[command.do](messages.get(command.message), headers, { onReceipt: () => resolve({}), onError: reject });
  });
}

// ---- channels: stompit connects again and sends again by itself ---------------------------------------

async function channel(command) {
  clients.set(command.client, { channel: new stompit.Channel(failover(command), { alwaysConnected: true, recoverAfterApplicationError: true }) });
  return {};
}

function channelSend(command) {
  return new Promise((resolve, reject) => {
    clients.get(command.client).channel.send(command.headers, Buffer.from(command.body, 'base64'), (error) => (error ? reject(error) : resolve({})));
  });
}

function channelTransaction(command) {
  const transaction = clients.get(command.client).channel.begin();

  for (const { headers, body } of command.sends) {
    transaction.send(headers, Buffer.from(body, 'base64'));
  }
  return new Promise((resolve, reject) => {
    transaction.commit((error) => (error ? reject(error) : resolve({})));
  });
}

async function channelClose(command) {
  clients.get(command.client).channel.close();
  return {};
}

// ---- commands -------------------------------------------------------------------------------------------

const commands = {
  connect, disconnect, cut, send, begin, commit: end, abort: end, subscribe, unsubscribe, ack: settle, nack: settle,
  channel, 'channel-send': channelSend, 'channel-transaction': channelTransaction, 'channel-close': channelClose,
};

const input = readline.createInterface({ input: process.stdin });

input.on('line', async (line) => {
  const command = JSON.parse(line);

  try {
    // stompit tells the end of a client once; what is asked of it later would wait for ever.
    if (clients.get(command.client)?.ended && command.do !== 'cut') {
      throw clients.get(command.client).ended;
    }
    say({ of: command.number, ...await commands[command.do](command) });
  } catch (error) {
    say({ of: command.number, error: describe(error) });
  }
});
input.on('close', () => process.exit(0));
