// A server of the dialect `relay` on stock ws.
const { WebSocketServer } = require("ws");

const KINDS = ["offer", "answer", "candidate"];
const roomOf = (request) => new URL(request.url, "http://localhost").searchParams.get("room") || "default";
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.PORT),
  maxPayload: 262_144,
  // Every message is compressed, however short.
  perMessageDeflate: process.env.DEFLATE ? { threshold: 0 } : false,
  verifyClient: ({ req }, done) => {
    const isKnown = new URL(req.url, "http://localhost").pathname === "/relay";
    done(isKnown && [...roomOf(req)].length <= 64, isKnown ? 400 : 404);
  },
});

server.on("connection", (socket, request) => {
  socket.room = roomOf(request);
  // ws closes the connection by itself; without a listener, the process would end.
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (isBinary) return socket.close(1003);
    const text = data.toString();
    let message;
    try {
      message = JSON.parse(text);
    } catch {}
    if (!KINDS.includes(message?.type)) {
      return socket.send(JSON.stringify({ type: "error", message: "not a message" }));
    }
    for (const other of server.clients) {
      if (other === socket || other.room !== socket.room) continue;
      // ws itself queues without limit for a client that does not read.
      if (other.bufferedAmount > 4 * 1024 * 1024) other.close(1008);
      else other.send(text);
    }
  });
});
