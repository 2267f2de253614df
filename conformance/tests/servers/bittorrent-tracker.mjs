// The WebSocket tracker of npm `bittorrent-tracker`, without the client of the package, which needs a native library.
// Modules of this kind are not found by NODE_PATH.
const { default: Server } = await import(`${process.env.NODE_PATH}/bittorrent-tracker/server.js`);

const server = new Server({ http: false, udp: false, ws: true, stats: false });
// Bad messages; without a listener, the process would end.
server.on("warning", () => {});
server.on("error", () => process.exit(1));
server.listen(Number(process.env.PORT), process.env.HOST ?? "127.0.0.1");
