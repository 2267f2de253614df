// Calls over WebSocket.
import { calls } from "./calls.mjs";

export const play = (stage) => calls(stage, "call");
