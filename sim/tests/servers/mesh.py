"""A signaling server of the protocol `mesh` on PyPI `websockets`."""
import asyncio
import json
import os
import secrets
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

rooms: dict[str, list] = {}


async def say(to, **message):
    for client in to:
        try:
            await client.send(json.dumps(message, separators=(",", ":"), ensure_ascii=False))
        except ConnectionClosed:
            pass


def others(client):
    return [other for other in rooms.get(client.room, []) if other is not client]


async def leave(client):
    if client.room is None:
        return
    room, left = client.room, others(client)
    rooms[room].remove(client)
    if not rooms[room]:
        del rooms[room]
    client.room = None
    await say(left, action="peer-left", roomId=room, clientId=client.name)


async def handle(client, message):
    room = message.get("roomId")
    match message:
        case {"action": "join"}:
            if client.room == room:
                return await say([client], action="joined", roomId=room, clientId=client.name,
                                 peers=[{"clientId": other.name} for other in others(client)])
            await leave(client)
            client.room = room
            members = list(rooms.setdefault(room, []))
            rooms[room].append(client)
            await say([client], action="joined", roomId=room, clientId=client.name,
                      peers=[{"clientId": other.name} for other in members])
            await say(members, action="peer-joined", roomId=room, peer={"clientId": client.name})
        case _ if client.room != room:
            await say([client], action="error", message="Not in this room")
        case {"action": "leave"}:
            await leave(client)
        case {"action": "signal", "type": kind}:
            to = message.get("to")
            targets = [other for other in others(client) if to is None or other.name == to]
            if to is not None and not targets:
                return await say([client], action="error", message=f"Target client {to} not found or not in room")
            await say(targets, action="signal", roomId=room, type=kind, data=message.get("data"), **{"from": client.name})


async def connected(client):
    client.name, client.room = secrets.token_hex(5), None
    print(f"{client.name} connects from {client.remote_address[0]}")
    try:
        async for text in client:
            await handle(client, json.loads(text))
    except ConnectionClosed:
        pass
    finally:
        await leave(client)


async def main():
    port = int(os.environ.get("PORT", "8787"))
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
    async with serve(connected, "0.0.0.0", port, ping_interval=20, ping_timeout=20) as server:
        print(f"listening on {port}")
        await stop
        server.close()
        await server.wait_closed()


asyncio.run(main())
