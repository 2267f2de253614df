//! Defects of STUN, NAT behaviour discovery and TURN.

/// Hands what is before it and its own entries on.
macro_rules! network {
    ([$next:ident $($then:ident)*] $($before:tt)*) => { $next! { [$($then)*] $($before)*
        // STUN messages.
        IdCut: "stun/id-cut", "stun/message.rs", [Stun],
            "An answer has the transaction id without its last byte.";
        IdOfZerosDropped: "stun/id-of-zeros-dropped", "stun/message.rs", [Stun],
            "A transaction id of zeros counts as none.";
        CookieOverlooked: "stun/cookie-overlooked", "stun/message.rs", [Stun],
            "A request without the magic cookie is answered like any other.";
        FirstBitsOverlooked: "stun/first-bits-overlooked", "stun/message.rs", [Stun],
            "A message whose first two bits are not zero is answered.";
        LengthOverlooked: "stun/length-overlooked", "stun/message.rs", [Stun],
            "The length field may say what it likes.";
        OverrunCut: "stun/overrun-cut", "stun/message.rs", [Stun],
            "An attribute that reaches beyond its message is cut.";
        PaddingRead: "stun/padding-read", "stun/message.rs", [Stun],
            "A message with padding that is not zero is dropped.";
        FingerprintOverlooked: "stun/fingerprint-overlooked", "stun/message.rs", [Stun],
            "A wrong FINGERPRINT is as good as a right one.";
        BehindIntegrityRead: "stun/behind-integrity-read", "stun/message.rs", [Stun],
            "What follows MESSAGE-INTEGRITY counts.";
        RequiredIgnored: "stun/required-ignored", "stun/message.rs", [Stun, Turn],
            "Attributes that must be understood are ignored when they are not.";
        OptionalRequired: "stun/optional-required", "stun/message.rs", [Stun],
            "Attributes that need not be understood are refused when they are not.";
        ListMissing: "stun/list-missing", "stun/message.rs", [Stun, Turn],
            "A 420 does not say which attributes it means.";
        CodeAsNumber: "stun/code-as-number", "stun/message.rs", [Stun, Turn],
            "ERROR-CODE has the code as a number of 16 bits.";
        PaddingOfOnes: "stun/padding-of-ones", "stun/message.rs", [Stun],
            "The server pads with something else than zeros.";
        SoftwareTooLong: "stun/software-too-long", "stun/message.rs", [Stun, Turn],
            "SOFTWARE has 200 characters.";
        AddressPlain: "stun/address-plain", "stun/message.rs", [Stun],
            "XOR-MAPPED-ADDRESS is not XORed.";
        IdNotInMask: "stun/id-not-in-mask", "stun/message.rs", [Stun],
            "An IPv6 address is XORed with the magic cookie, and not with the transaction id.";
        FingerprintNotCounted: "stun/fingerprint-not-counted", "stun/message.rs", [Stun],
            "FINGERPRINT is computed before the length counts it.";
        IndicationAnswered: "stun/indication-answered", "stun/binding.rs", [Stun],
            "An indication is answered like a request.";
        ResponseAnswered: "stun/response-answered", "stun/binding.rs", [Stun],
            "A response is answered like a request.";
        MethodOverlooked: "stun/method-overlooked", "stun/binding.rs", [Stun],
            "A request of any method is answered as a Binding request.";
        BindingRefused: "stun/binding-refused", "stun/binding.rs", [Stun],
            "A Binding request needs credentials.";
        AddressOfAnother: "stun/address-of-another", "stun/binding.rs", [Stun],
            "A client is told the address of whoever asked before.";
        RetransmissionIgnored: "stun/retransmission-ignored", "stun/binding.rs", [Stun],
            "A request that was answered once is not answered again.";
        AnsweredFromElsewhere: "stun/answered-from-elsewhere", "stun/binding.rs", [Stun],
            "An answer comes from another address than the one that was asked.";
        StubReturned: "stun/stub-returned", "stun/udp.rs", [Stun],
            "A datagram that is shorter than a header comes back.";
        OneAnswerAConnection: "stun/one-answer-a-connection", "stun/tcp.rs", [Stun],
            "A TCP connection is closed after its first answer.";
        PiecesDropped: "stun/pieces-dropped", "stun/tcp.rs", [Stun],
            "What a read finds in a TCP connection is taken for whole messages.";

        // NAT behaviour discovery.
        PlainAddressMissing: "nat-behaviour/plain-address-missing", "stun/binding.rs", [Stun],
            "There is no MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS.";
        OriginAndOtherSwapped: "nat-behaviour/origin-and-other-swapped", "stun/binding.rs", [Stun],
            "RESPONSE-ORIGIN has what OTHER-ADDRESS should have.";
        OtherOnSameHost: "nat-behaviour/other-on-same-host", "stun/binding.rs", [Stun],
            "OTHER-ADDRESS differs in its port alone.";
        ChangeRequestIgnored: "nat-behaviour/change-request-ignored", "stun/binding.rs", [Stun],
            "CHANGE-REQUEST changes nothing.";
        ChangeRequestForgotten: "nat-behaviour/change-request-forgotten", "stun/binding.rs", [Stun],
            "A server with one address says nothing against CHANGE-REQUEST.";
        ResponsePortIgnored: "nat-behaviour/response-port-ignored", "stun/binding.rs", [Stun],
            "RESPONSE-PORT changes nothing.";
        PaddingUnanswered: "nat-behaviour/padding-unanswered", "stun/binding.rs", [Stun],
            "PADDING is not answered with PADDING.";
        PaddingToAnotherPort: "nat-behaviour/padding-to-another-port", "stun/binding.rs", [Stun],
            "PADDING and RESPONSE-PORT may come together.";

        // TURN: who may.
        IntegrityOverlooked: "turn/integrity-overlooked", "stun/message.rs", [Turn],
            "MESSAGE-INTEGRITY is not checked.";
        AnswersUnsealed: "turn/answers-unsealed", "turn/requests.rs", [Turn],
            "Answers have no MESSAGE-INTEGRITY.";
        StrangersToldApart: "turn/strangers-told-apart", "turn/requests.rs", [Turn],
            "A user that nobody knows is told so: 403.";
        IncompleteIsUnauthorized: "turn/incomplete-is-unauthorized", "turn/requests.rs", [Turn],
            "A sealed request without user, realm or nonce gets 401, not 400.";
        ChallengeEmpty: "turn/challenge-empty", "turn/requests.rs", [Turn],
            "A 401 has neither realm nor nonce.";
        NoNewNonce: "turn/no-new-nonce", "turn/requests.rs", [Turn],
            "A 438 has no new nonce.";
        StaleNonceAccepted: "turn/stale-nonce-accepted", "turn/requests.rs", [Turn],
            "Any nonce is accepted.";
        NonceShared: "turn/nonce-shared", "turn/nonce.rs", [Turn],
            "All clients get the same nonce.";
        AnyUserRules: "turn/any-user-rules", "turn/requests.rs", [Turn],
            "Any user rules any allocation.";

        // TURN: allocations.
        SecondAllocateReplaces: "turn/second-allocate-replaces", "turn/requests.rs", [Turn],
            "A second Allocate replaces the first.";
        RetransmissionRefused: "turn/retransmission-refused", "turn/requests.rs", [Turn],
            "An Allocate that is sent again gets 437.";
        TransportAssumed: "turn/transport-assumed", "turn/requests.rs", [Turn],
            "An Allocate needs no REQUESTED-TRANSPORT.";
        AnyTransport: "turn/any-transport", "turn/requests.rs", [Turn],
            "Whatever transport is asked for, UDP is given.";
        FamilyIgnored: "turn/family-ignored", "turn/requests.rs", [Turn],
            "REQUESTED-ADDRESS-FAMILY changes nothing.";
        LifetimeAsAsked: "turn/lifetime-as-asked", "turn/requests.rs", [Turn],
            "A client gets as short a lifetime as it asks for.";
        RelayedAddressRepeated: "turn/relayed-address-repeated", "turn/requests.rs", [Turn],
            "Every client is told the same relayed address.";
        MappedIsRelayed: "turn/mapped-is-relayed", "turn/requests.rs", [Turn],
            "XOR-MAPPED-ADDRESS has the relayed address.";
        EvenPortIgnored: "turn/even-port-ignored", "turn/requests.rs", [Turn],
            "EVEN-PORT changes nothing.";
        AnyTokenTaken: "turn/any-token-taken", "turn/requests.rs", [Turn],
            "Any RESERVATION-TOKEN gets a port.";
        TokenWithEvenPort: "turn/token-with-even-port", "turn/requests.rs", [Turn],
            "RESERVATION-TOKEN and EVEN-PORT may come together.";
        DontFragmentIsBad: "turn/dont-fragment-is-bad", "turn/requests.rs", [Turn],
            "DONT-FRAGMENT gets 400.";
        QuotaNeverFreed: "turn/quota-never-freed", "turn/mod.rs", [Turn],
            "What a user has given back still counts against its quota.";
        LifetimeUntold: "turn/lifetime-untold", "turn/requests.rs", [Turn],
            "The answer to Refresh does not tell the lifetime.";
        RefreshZeroIgnored: "turn/refresh-zero-ignored", "turn/requests.rs", [Turn],
            "A Refresh with LIFETIME 0 asks for the default lifetime.";
        RelaysAfterItsEnd: "turn/relays-after-its-end", "turn/requests.rs", [Turn],
            "An allocation that was given up still relays what peers send.";
        RefreshFamilyIgnored: "turn/refresh-family-ignored", "turn/requests.rs", [Turn],
            "A Refresh may name any address family.";

        // TURN: permissions and data.
        PermissionUnsealed: "turn/permission-unsealed", "turn/requests.rs", [Turn],
            "The answer to CreatePermission has no MESSAGE-INTEGRITY.";
        NobodyPermitted: "turn/nobody-permitted", "turn/requests.rs", [Turn],
            "A CreatePermission without a peer succeeds.";
        OnePeerPermitted: "turn/one-peer-permitted", "turn/allocation.rs", [Turn],
            "Of several peers in one CreatePermission only the first is permitted.";
        PermissionsShared: "turn/permissions-shared", "turn/allocation.rs", [Turn],
            "A permission of one allocation is one of all.";
        PermissionByPort: "turn/permission-by-port", "turn/allocation.rs", [Turn],
            "A permission is for one port of a peer.";
        AnyPeerHeard: "turn/any-peer-heard", "turn/allocation.rs", [Turn],
            "Peers need no permission to reach a client.";
        AnyPeerReached: "turn/any-peer-reached", "turn/relay.rs", [Turn],
            "A client needs no permission to reach a peer.";
        PeersUnchecked: "turn/peers-unchecked", "turn/requests.rs", [Turn],
            "Peers may have any address, those of the server's own machine too.";
        PeerFamilyIgnored: "turn/peer-family-ignored", "turn/requests.rs", [Turn],
            "Peers of the other address family are permitted.";
        OpenRelay: "turn/open-relay", "turn/relay.rs", [Turn],
            "Who has no allocation can send through the server.";
        SendUnknownObeyed: "turn/send-unknown-obeyed", "turn/relay.rs", [Turn],
            "A Send with an attribute that must be understood and is not is obeyed.";
        RequestsAsIndications: "turn/requests-as-indications", "turn/requests.rs", [Turn],
            "Indications of Allocate and Refresh are answered.";
        SentFromServer: "turn/sent-from-server", "turn/relay.rs", [Turn],
            "Peers get data from the server's own port, and not from the relayed address.";
        EmptyNotRelayed: "turn/empty-not-relayed", "turn/relay.rs", [Turn],
            "A Send without bytes is not relayed.";
        PeerPortLost: "turn/peer-port-lost", "turn/relay.rs", [Turn],
            "A Data indication does not tell the peer's port.";
        PaddingIsData: "turn/padding-is-data", "turn/relay.rs", [Turn],
            "The length of DATA counts its padding.";

        // TURN: channels.
        ChannelOneWay: "turn/channel-one-way", "turn/allocation.rs", [Turn],
            "A peer with a channel is heard by Data indications nevertheless.";
        ChannelWithoutPermission: "turn/channel-without-permission", "turn/allocation.rs", [Turn],
            "A ChannelBind permits nothing beside its channel.";
        ChannelRebound: "turn/channel-rebound", "turn/allocation.rs", [Turn],
            "A channel can be bound to another peer, and a peer to another channel.";
        ChannelsOfOldRange: "turn/channels-of-old-range", "turn/requests.rs", [Turn],
            "Channels may be 0x4000 to 0x7FFF, as in RFC 5766.";
        ChannelAssumed: "turn/channel-assumed", "turn/requests.rs", [Turn],
            "A ChannelBind without a number is for channel 0x4000.";
        ShortDataRelayed: "turn/short-data-relayed", "turn/relay.rs", [Turn],
            "ChannelData that is shorter than it says is relayed as it is.";
        ChannelPaddingRelayed: "turn/channel-padding-relayed", "turn/relay.rs", [Turn],
            "The padding of ChannelData is relayed with it.";

        // TURN: what ends by itself.
        PermissionForEver: "turn/permission-for-ever", "turn/allocation.rs", [TurnLifetimes],
            "A permission does not end.";
        DataRenewsPermission: "turn/data-renews-permission", "turn/relay.rs", [TurnLifetimes],
            "Data to a peer renews its permission.";
        ChannelForEver: "turn/channel-for-ever", "turn/allocation.rs", [TurnLifetimes],
            "A channel does not end.";
        AllocationForEver: "turn/allocation-for-ever", "turn/requests.rs", [TurnLifetimes],
            "An allocation does not end.";
    } };
}
