// The signaling server of RxDB, as its documentation starts it.
const { startSignalingServerSimplePeer } = require("rxdb/plugins/replication-webrtc");

startSignalingServerSimplePeer({ port: Number(process.env.PORT) });
