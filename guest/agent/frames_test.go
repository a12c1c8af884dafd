package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"

	"tandem/guest/agent/agentpb"
)

// readConn is a connection that is only read.
type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func TestFrameConn(t *testing.T) {
	good := bytes.Repeat(append(frame(t, 1, frameRequest, &ttrpc.Request{Method: "Info"}), frame(t, 3, frameRequest, &ttrpc.Request{})...), 3)
	header := func(length uint32, kind byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), 0, 0, 0, 1, kind, 0)
	}
	for _, test := range []struct {
		name string
		text []byte
		want []byte // what comes through
		end  error
	}{
		{"frames", good, good, nil},
		{"half a header", good[:len(good)-14], good[:len(good)-14], nil},
		{"half a message", good[:3], nil, io.ErrUnexpectedEOF},
		{"a type of the other side", append(bytes.Clone(good), header(0, frameResponse)...), good, io.ErrUnexpectedEOF},
		{"data", append(bytes.Clone(good), header(0, 3)...), good, io.ErrUnexpectedEOF},
		{"largest", header(maxMessage, frameRequest), header(maxMessage, frameRequest), nil},
		{"too large", append(bytes.Clone(good), header(maxMessage+1, frameRequest)...), good, io.ErrUnexpectedEOF},
		{"far too large", header(1<<32-1, frameRequest), nil, io.ErrUnexpectedEOF},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{"whole": bytesOf, "byte by byte": iotest.OneByteReader} {
			conn := newFrameConn(readConn{Reader: reader(bytes.NewReader(test.text))}, frameRequest)
			got, err := io.ReadAll(conn)
			if !bytes.Equal(got, test.want) && !(len(got) == 0 && len(test.want) == 0) {
				t.Errorf("%s, %s: %d bytes, want %d", test.name, how, len(got), len(test.want))
			}
			if !errors.Is(err, test.end) {
				t.Errorf("%s, %s: %v, want %v", test.name, how, err, test.end)
			}
		}
	}
}

func bytesOf(r io.Reader) io.Reader { return r }

// TestDataForARequest sends a frame that ttrpc's server takes for that of a stream, while the request that it names is
// being answered.
func TestDataForARequest(t *testing.T) {
	host, guest := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s := &session{server: &Server{}, commands: make(map[execID]*command)}
		newControl(s).serve(context.Background(), guest)
	}()
	write := func(b []byte) {
		if _, err := host.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(request(t, 1, "Start", &agentpb.StartRequest{Args: [][]byte{[]byte("sleep"), []byte("1000")}, DefaultEnv: true}))
	started := readStarted(t, host)
	write(request(t, 3, "Wait", &agentpb.WaitRequest{Exec: started.Exec}))
	write([]byte{0, 0, 0, 0, 0, 0, 0, 3, 3, 0})
	<-served // and not: panic
	if !gone(int(started.Pid)) {
		t.Error("the command still runs")
	}
}

func readStarted(t *testing.T, conn io.Reader) *agentpb.StartResponse {
	t.Helper()
	header := make([]byte, frameHeader)
	if _, err := io.ReadFull(conn, header); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, binary.BigEndian.Uint32(header))
	if _, err := io.ReadFull(conn, text); err != nil {
		t.Fatal(err)
	}
	var answer ttrpc.Response
	var started agentpb.StartResponse
	if err := proto.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(answer.Payload, &started); err != nil || len(started.Exec) == 0 {
		t.Fatalf("%+v, %v", &started, err)
	}
	return &started
}
