// A server of the dialect `simple-signal`, as the package's README shows it.
const { Server } = require("socket.io");

require("simple-signal-server")(new Server(Number(process.env.PORT)));
