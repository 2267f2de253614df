// Calls over Socket.IO, with the client of the pages.
import { calls } from "./calls.mjs";

export const play = (stage) => calls(stage, "call-socketio");
