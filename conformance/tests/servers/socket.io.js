// A server of the dialect `broadcast` on stock Socket.IO.
const { Server } = require("socket.io");

const io = new Server(Number(process.env.PORT), { cors: { origin: "*" }, pingInterval: 3000, pingTimeout: 2000 });
io.on("connection", (socket) => {
  for (const kind of ["offer", "answer"]) {
    socket.on(`send-${kind}`, (...given) => {
      const acknowledge = typeof given.at(-1) === "function" ? given.pop() : () => {};
      io.emit(`receive-${kind}`, ...given);
      acknowledge();
    });
  }
});
