//! Defects of HTTP, Engine.IO and Socket.IO.

/// Hands what is before it and its own entries on.
macro_rules! web {
    ([$next:ident $($then:ident)*] $($before:tt)*) => { $next! { [$($then)*] $($before)*
        // HTTP beside the signaling.
        SlashesInUrls: "http/slashes-in-urls", "api.rs", [SenderViewer],
            "The URL of an ICE server has `//`.";
        SchemeMissing: "http/scheme-missing", "api.rs", [SenderViewer],
            "The URL of an ICE server is host and port alone.";
        ServersAsText: "http/servers-as-text", "api.rs", [SenderViewer],
            "The ICE servers have the content type of plain text.";
        CredentialsCached: "http/credentials-cached", "api.rs", [SenderViewer],
            "Nothing keeps a cache from storing credentials.";
        UserMissing: "http/user-missing", "api.rs", [SenderViewer],
            "A TURN server comes with a credential and no user name.";
        CorsMissing: "http/cors-missing", "api.rs", [SenderViewer],
            "No answer has a CORS header.";
        PreflightRefused: "http/preflight-refused", "api.rs", [SenderViewer],
            "OPTIONS is no method that is allowed.";
        HealthUnwell: "http/health-unwell", "api.rs", [SenderViewer],
            "A server that serves says that it is unwell.";
        StatusEmpty: "http/status-empty", "api.rs", [SenderViewer],
            "The status has no rooms.";
        AllowMissing: "http/allow-missing", "api.rs", [SenderViewer],
            "A 405 does not say which methods are allowed.";
        AnyPathFound: "http/any-path-found", "api.rs", [SenderViewer],
            "A path that is not there gets 200.";
        KickInWords: "http/kick-in-words", "api.rs", [SenderViewer],
            "Who is kicked stays, and the answer is a success.";
        NobodyKicked: "http/nobody-kicked", "api.rs", [SenderViewer],
            "Kicking somebody who is not there is a success.";
        BadKickCrashes: "http/bad-kick-crashes", "api.rs", [SenderViewer],
            "A kick whose body is no JSON is an error of the server.";

        // Engine.IO.
        AnyRevision: "sio/any-revision", "socketio/endpoint.rs", [CallSocketIo, Broadcast],
            "Engine.IO of any version is spoken to as if it was 4.";
        UnknownSidOpens: "sio/unknown-sid-opens", "socketio/endpoint.rs", [CallSocketIo, Broadcast],
            "A request of an unknown session opens one.";
        PollMixedUp: "sio/poll-mixed-up", "socketio/endpoint.rs", [Broadcast],
            "A poll is answered with what is for another session.";
        OnePacketPosted: "sio/one-packet-posted", "socketio/endpoint.rs", [CallSocketIo, Broadcast],
            "Of several packets in a POST only the first is read.";
        UpgradesForEver: "sio/upgrades-for-ever", "socketio/endpoint.rs", [CallSocketIo, Broadcast],
            "A session over a WebSocket is offered the upgrade to a WebSocket.";
        PingInSeconds: "sio/ping-in-seconds", "socketio/endpoint.rs", [Broadcast],
            "The first packet has the ping interval in seconds.";
        CloseIgnored: "sio/close-ignored", "socketio/session.rs", [CallSocketIo, Broadcast],
            "Who closes its session is told nothing, and keeps it.";
        PollsOverlap: "sio/polls-overlap", "socketio/session.rs", [CallSocketIo, Broadcast],
            "Two polls of a session may wait at the same time.";
        SilentKept: "sio/silent-kept", "socketio/session.rs", [Broadcast],
            "Who answers no ping is pinged for ever.";
        NeverPings: "sio/never-pings", "socketio/session.rs", [Broadcast],
            "The server sends no pings.";
        PongsUncounted: "sio/pongs-uncounted", "socketio/session.rs", [Broadcast],
            "Who answers a ping is closed as if it had not.";
        UpgradeLoses: "sio/upgrade-loses", "socketio/session.rs", [Broadcast],
            "What waits for a poll is lost when the session changes over.";
        UpgradeRepeats: "sio/upgrade-repeats", "socketio/session.rs", [Broadcast],
            "What the last poll has fetched comes over the WebSocket again.";
        PollRepeats: "sio/poll-repeats", "socketio/session.rs", [Broadcast],
            "What a poll has fetched comes with the next one again.";
        BinaryAsText: "sio/binary-as-text", "socketio/session.rs", [Broadcast],
            "Over polling an attachment comes as it is, and not as base64.";
        PayloadUnlimited: "sio/payload-unlimited", "socketio/websocket.rs", [Broadcast],
            "A packet may be of any length.";

        // Socket.IO.
        BadPacketHeldBack: "sio/bad-packet-held-back", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "A packet that is none is ignored, and the next one, which is good, closes the session.";
        NamespaceCloses: "sio/namespace-closes", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "Who asks for an unknown namespace is closed.";
        AnyNamespace: "sio/any-namespace", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "Any namespace can be joined.";
        ConnectWithoutSid: "sio/connect-without-sid", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "CONNECT is answered without an id.";
        ConnectNotNeeded: "sio/connect-not-needed", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "An event before CONNECT connects, too.";
        DisconnectIgnored: "sio/disconnect-ignored", "socketio/socket.rs", [Broadcast],
            "Who disconnects from the namespace still hears its events.";
        AckUnnumbered: "sio/ack-unnumbered", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "An acknowledgement does not say of what.";
        AckOfAnother: "sio/ack-of-another", "socketio/socket.rs", [CallSocketIo, Broadcast],
            "An acknowledgement has another number than what it is for.";
        CandidateLostInTwin: "call/candidate-lost-in-twin", "dialect/call.rs", [CallSocketIo],
            "Over Socket.IO candidates are not delivered.";

        // The dialect `broadcast`.
        SenderNotTold: "broadcast/sender-not-told", "dialect/broadcast.rs", [Broadcast],
            "A signal does not come back to its sender, as it should.";
        EchoTwice: "broadcast/echo-twice", "dialect/broadcast.rs", [Broadcast],
            "A signal comes back to its sender twice.";
        AnswerIsOffer: "broadcast/answer-is-offer", "dialect/broadcast.rs", [Broadcast],
            "An answer arrives as an offer.";
        LateListenerTold: "broadcast/late-listener-told", "dialect/broadcast.rs", [Broadcast],
            "Whoever comes late is told what was said before.";
        AttachmentLost: "broadcast/attachment-lost", "dialect/broadcast.rs", [Broadcast],
            "The last attachment of an event is lost.";
        AttachmentsReordered: "broadcast/attachments-reordered", "dialect/broadcast.rs", [Broadcast],
            "The attachments of an event come in the wrong order.";
    } };
}
