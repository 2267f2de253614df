// A TURN server of pion, for users u and v: listens where its argument says, until it is ended.
package main

import (
	"net"
	"os"

	"github.com/pion/turn/v2"
)

func main() {
	udp, err := net.ListenPacket("udp4", os.Args[1])
	if err != nil {
		panic(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		panic(err)
	}
	relay := &turn.RelayAddressGeneratorStatic{RelayAddress: net.ParseIP("127.0.0.1"), Address: "127.0.0.1"}
	passwords := map[string]string{"u": "p", "v": "q"}
	_, err = turn.NewServer(turn.ServerConfig{
		Realm: "test",
		AuthHandler: func(user, realm string, from net.Addr) ([]byte, bool) {
			password, ok := passwords[user]
			return turn.GenerateAuthKey(user, realm, password), ok
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: relay}},
		ListenerConfigs:   []turn.ListenerConfig{{Listener: tcp, RelayAddressGenerator: relay}},
	})
	if err != nil {
		panic(err)
	}
	select {}
}
