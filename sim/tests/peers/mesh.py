"""A peer of the protocol `mesh` on PyPI `aiortc`: it joins a room, connects to every other member, and sends each of
them a text over a data channel.

Where and as whom to join is in the environment: GLARE_URL, GLARE_ROOM, GLARE_NAME, GLARE_STUN. Orders arrive on
standard input and reports go to standard output, one JSON object a line.
"""
import asyncio
import json
import os
import sys

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from websockets.asyncio.client import connect

ROOM, NAME = os.environ["GLARE_ROOM"], os.environ["GLARE_NAME"]
STUN = [RTCIceServer(urls=os.environ["GLARE_STUN"])] if "GLARE_STUN" in os.environ else []

peers: dict[str, "Peer"] = {}


def report(event, peer, **more):
    print(json.dumps({"event": event, "peer": peer, **more}), flush=True)


class Peer:
    """The connection to one member."""

    def __init__(self, socket, them):
        self.socket, self.them, self.channel = socket, them, None
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=STUN))
        self.early = []
        self.connection.on("connectionstatechange", self.changed)
        self.connection.on("datachannel", self.use)

    def changed(self):
        report("state", self.them, state=self.connection.connectionState)

    def use(self, channel):
        self.channel = channel
        channel.on("message", lambda text: report("received", self.them, text=text))
        if channel.readyState == "open":
            self.opened()
        else:
            channel.on("open", self.opened)

    def opened(self):
        report("channel", self.them)
        self.say(f"hello from {NAME}")

    def say(self, text):
        if self.channel and self.channel.readyState == "open":
            self.channel.send(text)
            report("sent", self.them, text=text)

    async def signal(self, kind, data):
        await self.socket.send(json.dumps({"action": "signal", "roomId": ROOM, "to": self.them, "type": kind, "data": data}))

    async def describe(self, description):
        # aiortc gathers all candidates before this returns: they are part of the description.
        await self.connection.setLocalDescription(description)
        local = self.connection.localDescription
        await self.signal(local.type, {"type": local.type, "sdp": local.sdp})

    async def offer(self):
        self.use(self.connection.createDataChannel("data"))
        await self.describe(await self.connection.createOffer())

    async def take(self, data):
        await self.connection.setRemoteDescription(RTCSessionDescription(data["sdp"], data["type"]))
        for candidate in self.early:
            await self.add(candidate)
        self.early = []
        if data["type"] == "offer":
            await self.describe(await self.connection.createAnswer())

    async def add(self, data):
        text = data.get("candidate") or ""
        if not text:
            return
        if self.connection.remoteDescription is None:
            self.early.append(data)
            return
        candidate = candidate_from_sdp(text.removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = data.get("sdpMid"), data.get("sdpMLineIndex")
        await self.connection.addIceCandidate(candidate)


async def drop(them):
    peer = peers.pop(them, None)
    if peer:
        await peer.connection.close()


async def renew(socket, them):
    await drop(them)
    peers[them] = Peer(socket, them)
    return peers[them]


async def handle(socket, message):
    match message:
        case {"action": "peer-joined", "peer": {"clientId": them}}:
            await (await renew(socket, them)).offer()
        case {"action": "peer-left", "clientId": them}:
            await drop(them)
        case {"action": "signal", "type": "offer", "from": them, "data": data}:
            await (await renew(socket, them)).take(data)
        case {"action": "signal", "type": "answer", "from": them, "data": data} if them in peers:
            await peers[them].take(data)
        case {"action": "signal", "type": "ice-candidate", "from": them, "data": data} if them in peers:
            await peers[them].add(data)
        case {"action": "signal", "type": "hangup", "from": them}:
            await drop(them)
        case {"action": "error"}:
            print(f"error: {message.get('message')}", flush=True)


async def obey(leave):
    """Reads orders until the one to leave."""
    loop, lines = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        match json.loads(line):
            case {"op": "leave"}:
                leave.set()
            case {"op": "say", "text": text}:
                for peer in peers.values():
                    peer.say(text)
            case {"op": "hangup", "to": them} if them in peers:
                await peers[them].signal("hangup", {})
                await drop(them)


async def listen(leave):
    """Is in the room until it is to leave, and joins again whenever the connection breaks."""
    async for socket in connect(os.environ["GLARE_URL"], compression=None):
        await socket.send(json.dumps({"action": "join", "roomId": ROOM, "name": NAME}))
        going = asyncio.create_task(leave.wait())
        try:
            while True:
                coming = asyncio.create_task(socket.recv())
                await asyncio.wait([coming, going], return_when=asyncio.FIRST_COMPLETED)
                if leave.is_set():
                    coming.cancel()
                    await socket.send(json.dumps({"action": "leave", "roomId": ROOM}))
                    await socket.close()
                    return
                # One after the other: a signal may need what the last one has done.
                await handle(socket, json.loads(coming.result()))
        except OSError as error:
            print(f"lost the signaling connection: {error}", flush=True)
        except Exception as error:
            print(f"lost the signaling connection: {error}", flush=True)
        finally:
            going.cancel()


async def main():
    leave = asyncio.Event()
    orders = asyncio.create_task(obey(leave))
    await listen(leave)
    orders.cancel()
    for them in list(peers):
        await drop(them)


asyncio.run(main())
