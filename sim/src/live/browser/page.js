// The WebRTC connections of an actor that runs in a tab. Glare evaluates this script in an empty page, calls `glare` for each
// thing that a connection is to do, and hears of everything else by `glareTell`.
"use strict";
(() => {
  const connections = new Map();

  class Connection {
    constructor(number, { offerer, media: hasMedia, trickles }) {
      this.tell = (event) => globalThis.glareTell(JSON.stringify({ connection: number, event }));
      const pc = (this.pc = new RTCPeerConnection());
      this.trickles = trickles;
      /** The candidates of the other side. */
      this.remotes = [];
      pc.onicecandidate = ({ candidate }) => {
        // The end of candidates is not signaled, and Glare's own clients and its record know no other network than UDP over IPv4.
        if (candidate?.protocol === "udp" && !candidate.address?.includes(":")) this.tell({ candidate: candidate.toJSON() });
      };
      pc.oniceconnectionstatechange = () => {
        this.tell({ ice: pc.iceConnectionState });
        this.selected();
      };
      pc.ondatachannel = ({ channel }) => this.use(channel);
      pc.ontrack = ({ track, receiver }) => this.watchTrack(track.kind, receiver);
      if (offerer) this.use(pc.createDataChannel("chat"));
      if (offerer && hasMedia) media().getTracks().forEach((track) => pc.addTrack(track, media()));
    }

    use(channel) {
      this.channel = channel;
      channel.onopen = () => this.tell("open");
      channel.onclose = () => this.tell("closed");
      channel.onmessage = ({ data }) => this.tell({ text: String(data) });
    }

    /** Hears of the transport, which exists once a description is set. */
    watch() {
      const dtls = this.pc.sctp?.transport;
      if (!dtls || dtls === this.dtls) return;
      this.dtls = dtls;
      dtls.onstatechange = () => {
        if (dtls.state === "closed") this.isClosed(dtls);
        else this.tell({ dtls: dtls.state });
      };
      dtls.iceTransport.onselectedcandidatepairchange = () => this.selected();
      if (dtls.state !== "new") dtls.onstatechange();
      this.selected();
    }

    /**
     * Tells that the transport is closed, if it still is the one of the data channel. Until both sides have agreed on a bundle, each
     * section has a transport; all but one are closed while a description is set, and then the sections get the other one.
     */
    isClosed(dtls) {
      if (this.isSetting) setTimeout(() => this.isClosed(dtls), 20);
      else if (this.dtls === dtls) this.tell({ dtls: "closed" });
    }

    /** Sets a description, and hears of the transport that follows from it. */
    async set(setting) {
      this.isSetting = true;
      try {
        await setting;
        this.watch();
      } finally {
        this.isSetting = false;
      }
    }

    /** Tells which pair carries the data, if that is new. The address of a peer-reflexive candidate is hidden until it is signaled. */
    selected() {
      const pair = this.dtls?.iceTransport.getSelectedCandidatePair();
      if (!pair || !["connected", "completed"].includes(this.pc.iceConnectionState)) return;
      const local = pair.local.candidate;
      let remote = pair.remote.candidate;
      // The address of a peer-reflexive candidate is hidden, even when it turns out to be a signaled one. Then the port tells which.
      if (remote.includes(".invalid ")) remote = this.remotes.find((signaled) => portOf(signaled) === portOf(remote));
      if (!remote || this.last === `${local} ${remote}`) return;
      this.last = `${local} ${remote}`;
      this.tell({ selected: { local, remote } });
    }

    /** Tells that a track arrives, and when the first of it can be seen or heard. */
    async watchTrack(kind, receiver) {
      this.tell({ track: kind });
      while (this.pc.signalingState !== "closed") {
        const stats = [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp");
        // Nobody listens here, so sound is received but not decoded.
        if ((kind === "video" ? stats?.framesDecoded : stats?.packetsReceived) > 0) {
          this.tell({ plays: kind });
          return;
        }
        await new Promise((done) => setTimeout(done, 200));
      }
    }

    async offer() {
      return this.describe(await this.pc.createOffer());
    }

    async answer() {
      return this.describe(await this.pc.createAnswer());
    }

    async describe(description) {
      await this.set(this.pc.setLocalDescription(description));
      // A description that carries its candidates waits for all of them.
      while (!this.trickles && this.pc.iceGatheringState !== "complete") {
        await new Promise((done) => this.pc.addEventListener("icegatheringstatechange", done, { once: true }));
      }
      return { type: description.type, sdp: description.sdp };
    }

    async accept(description) {
      await this.set(this.pc.setRemoteDescription(description));
      if (description.type === "offer") this.sendWhatIsOffered();
    }

    /** Sends what the other side offers to send. */
    sendWhatIsOffered() {
      const offered = this.pc.getTransceivers().map(({ receiver }) => receiver.track.kind);
      const sent = this.pc.getSenders().map(({ track }) => track?.kind);
      for (const kind of offered.filter((kind) => !sent.includes(kind))) {
        this.pc.addTrack(media().getTracks().find((track) => track.kind === kind), media());
      }
    }

    async rollBack() {
      await this.set(this.pc.setLocalDescription({ type: "rollback" }));
    }

    restartIce() {
      this.pc.restartIce();
    }

    async addRemote(candidate) {
      await this.pc.addIceCandidate(candidate);
      this.remotes.push(candidate.candidate);
      this.selected();
    }

    send(text) {
      if (this.channel?.readyState !== "open") throw new Error("the data channel is not open");
      this.channel.send(text);
    }

    close() {
      this.pc.close();
    }
  }

  const portOf = (candidate) => candidate.split(" ")[5];

  /** A sound and a moving picture, which need no device and hardly any time. All connections send the same. */
  let made;
  function media() {
    if (made) return made;
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
    const context = canvas.getContext("2d");
    let frame = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${(frame += 20)} 80% 50%)`;
      context.fillRect(0, 0, canvas.width, canvas.height);
    }, 200);
    const sound = new AudioContext();
    const [oscillator, destination] = [sound.createOscillator(), sound.createMediaStreamDestination()];
    oscillator.connect(destination);
    oscillator.start();
    made = new MediaStream([...destination.stream.getTracks(), ...canvas.captureStream().getTracks()]);
    return made;
  }

  globalThis.glare = async (number, what, argument) => {
    if (what === "ready") {
      // The first connection of a page and the first sound take long. That is to be over before anybody waits for them.
      const first = new RTCPeerConnection();
      media().getTracks().forEach((track) => first.addTrack(track, media()));
      await first.setLocalDescription(await first.createOffer());
      first.close();
      return;
    }
    if (what === "open") {
      connections.set(number, new Connection(number, argument));
      return;
    }
    const connection = connections.get(number);
    if (!connection) throw new Error("there is no such connection");
    if (what === "close") connections.delete(number);
    return connection[what](argument);
  };
})();
