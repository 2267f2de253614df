// A server of `call` over stock Socket.IO that speaks as the original of that dialect: `join` takes a name alone, the list of users has
// objects, and there are no errors.
const { Server } = require("socket.io");

const io = new Server(Number(process.env.PORT), { cors: { origin: "*" }, pingInterval: 3000, pingTimeout: 2000 });
const users = new Map();
const list = () => io.emit("userList", [...users.values()]);

io.on("connection", (socket) => {
  const own = () => users.get(socket.id)?.username;
  const tell = (target, event, data) => {
    for (const [id, { username }] of users) if (username === target) io.to(id).emit(event, data);
  };
  socket.on("join", (username) => {
    users.set(socket.id, { username });
    list();
  });
  socket.on("call", ({ target }) => tell(target, "incomingCall", { caller: own(), callerId: socket.id }));
  socket.on("callResponse", ({ accepted, caller }) => tell(caller, "callAnswered", { accepted, target: own() }));
  socket.on("offer", ({ target, offer }) => tell(target, "offer", { offer, caller: own() }));
  socket.on("answer", ({ target, answer }) => tell(target, "answer", { answer, answerer: own() }));
  socket.on("iceCandidate", ({ target, candidate }) => tell(target, "iceCandidate", { candidate, sender: own() }));
  socket.on("mediaStateChange", ({ target, mediaType, enabled }) => tell(target, "mediaStateChange", { sender: own(), mediaType, enabled }));
  socket.on("endCall", ({ target }) => tell(target, "callEnded", { caller: own() }));
  socket.on("disconnect", () => {
    users.delete(socket.id);
    list();
  });
});
