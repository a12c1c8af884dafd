package agent

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"time"

	containerdlog "github.com/containerd/log"
	"github.com/hashicorp/yamux"
	"github.com/sirupsen/logrus"
)

// streamKind is the first byte that the client writes to a stream that it opens.
type streamKind byte

// A control stream goes on with ttrpc. The others go on with the execID of a running command, and then carry bytes in
// one direction; the other direction carries nothing but the reader's end of interest.
const (
	controlStream streamKind = 'C'
	stdinStream   streamKind = '0'
	stdoutStream  streamKind = '1'
	stderrStream  streamKind = '2'
)

func (k streamKind) String() string {
	switch k {
	case controlStream:
		return "control"
	case stdinStream:
		return "stdin"
	case stdoutStream:
		return "stdout"
	case stderrStream:
		return "stderr"
	}
	return fmt.Sprintf("stream kind %#x", byte(k))
}

// execID names a running command within a session. The server makes it from random bytes, so that a client cannot
// come upon the streams of another one's command.
type execID [16]byte

func newExecID() (id execID) {
	rand.Read(id[:]) // never fails: crypto/rand
	return id
}

// parseExecID checks what a peer sent.
func parseExecID(b []byte) (id execID, err error) {
	if len(b) != len(id) {
		return id, fmt.Errorf("command name of %d bytes, want %d", len(b), len(id))
	}
	return execID(b), nil
}

// streamHeader is the beginning of a stream.
type streamHeader struct {
	kind streamKind
	exec execID // of all but control streams
}

func (h streamHeader) writeTo(w io.Writer) error {
	b := []byte{byte(h.kind)}
	if h.kind != controlStream {
		b = append(b, h.exec[:]...)
	}
	_, err := w.Write(b)
	return err
}

func readStreamHeader(r io.Reader) (h streamHeader, err error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return h, err
	}
	switch h.kind = streamKind(kind[0]); h.kind {
	case controlStream:
		return h, nil
	case stdinStream, stdoutStream, stderrStream:
		_, err := io.ReadFull(r, h.exec[:])
		return h, err
	}
	return h, fmt.Errorf("unknown %v", h.kind)
}

// maxStreams bounds a session's streams, each of which can hold yamux's window of what nobody has read.
const maxStreams = 4096

// never is long enough for a paused machine, or one that a debugger holds.
const never = 365 * 24 * time.Hour

// sessionConfig is yamux's for both ends. No time limit of yamux's may end a session: an emulated guest is slow and a
// guest can be paused, and whether it is still wanted is known to those who run it.
func sessionConfig() *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          256,
		EnableKeepAlive:        false,
		KeepAliveInterval:      never, // must not be 0
		ConnectionWriteTimeout: never,
		StreamOpenTimeout:      0,
		// A stdin stream is half closed for as long as the command takes to read what was sent; with a time limit
		// yamux would throw away what is left.
		StreamCloseTimeout:  0,
		MaxStreamWindowSize: 256 << 10, // yamux's least
		Logger:              log.New(io.Discard, "", 0),
	}
}

// ttrpc and yamux log what a peer does wrong. The peer may be hostile and would so write to the user's terminal, or to
// a guest's console, as much as it likes. ttrpc's client has no other way to set its log than the process-wide one.
func init() {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	containerdlog.L = logrus.NewEntry(quiet)
}
