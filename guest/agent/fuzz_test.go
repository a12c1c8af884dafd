package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/hashicorp/yamux"
	"google.golang.org/protobuf/proto"

	"tandem/guest/agent/agentpb"
)

// errNotRun is a command that a fuzz test has made up and that had better not run.
var errNotRun = errors.New("not run")

// harmless is a server that runs nothing.
func harmless() *Server {
	return &Server{start: func(*control, *spec) (*command, error) { return nil, errNotRun }}
}

// hostile is a stream of fixed bytes whose other direction goes nowhere.
type hostile struct{ io.Reader }

func (hostile) Write(b []byte) (int, error) { return len(b), nil }
func (hostile) Close() error                { return nil }

// FuzzHandshake feeds both halves with bytes.
func FuzzHandshake(f *testing.F) {
	nonce := "0123456789abcdef"
	f.Add([]byte(hail{version, verbHello, nonce}.String() + hail{version, verbStart, nonce}.String()))
	f.Add([]byte("\x00rubbish\n" + hail{version, verbHello, nonce}.String()))
	f.Add([]byte(hail{version, verbHere, nonce}.String() + hail{version, verbReady, nonce}.String()))
	f.Add([]byte(hail{"9", verbHere, nonce}.String()))
	f.Fuzz(func(t *testing.T, text []byte) {
		rest, err := welcome(hostile{bytes.NewReader(text)})
		if err == nil {
			// The session begins right after a start of the client's: nothing of it may have been thrown away.
			after, err := io.ReadAll(rest)
			if err != nil || !bytes.HasSuffix(text, after) || !bytes.HasSuffix(text[:len(text)-len(after)], []byte("\n")) {
				t.Errorf("%d bytes after the start, %v", len(after), err)
			}
		}
		lines := newLineReader(bytes.NewReader(text), maxNoise)
		for lines.noise > 0 {
			h, err := lines.next()
			if err != nil {
				break
			}
			if again, ok := parseHail(string(bytes.TrimSpace([]byte(h.String())))); !ok || again != h {
				t.Errorf("%+v reads back as %+v, %v", h, again, ok)
			}
		}
	})
}

// FuzzServer feeds a server with a session's bytes.
func FuzzServer(f *testing.F) {
	f.Add(clientBytes(f, func(c *Client) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Info(ctx)
		cmd := c.Command(ctx, "true")
		cmd.Stdout, cmd.Stdin = io.Discard, bytes.NewReader(nil)
		cmd.Run()
	}))
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 'C'})
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 'C'})
	f.Add([]byte{0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, frames []byte) {
		host, guest := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- harmless().Serve(context.Background(), guest) }()
		go io.Copy(io.Discard, io.MultiReader(greeted(t, host), host))
		host.Write(frames)
		host.Close()
		<-served
	})
}

// FuzzServerControl feeds a control stream.
func FuzzServerControl(f *testing.F) {
	f.Add(request(f, 1, "Info", &agentpb.InfoRequest{}))
	f.Add(request(f, 1, "Start", &agentpb.StartRequest{Args: [][]byte{[]byte("true")}, Terminal: &agentpb.Terminal{Rows: 1}}))
	f.Add(append(request(f, 1, "Wait", &agentpb.WaitRequest{Exec: make([]byte, 16)}), 0, 0, 0, 0, 0, 0, 0, 1, 3, 0))
	f.Add(request(f, 2, "Signal", &agentpb.SignalRequest{Exec: []byte("x"), Signal: -1}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		host, guest := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			s := &session{server: harmless(), commands: make(map[execID]*command)}
			newControl(s).serve(context.Background(), guest)
		}()
		go io.Copy(io.Discard, host)
		host.Write(text)
		host.Close()
		<-served
	})
}

// FuzzClient feeds a client with what a guest may send, in answer to a few requests.
func FuzzClient(f *testing.F) {
	f.Add(response(f, 1, &agentpb.InfoResponse{Kernel: "6.1"}), []byte("output"))
	f.Add(response(f, 1, &agentpb.StartResponse{Exec: make([]byte, 16)}), []byte{})
	f.Add(append(response(f, 1, &agentpb.InfoResponse{}), response(f, 3, &agentpb.StartResponse{Exec: make([]byte, 3)})...), []byte{})
	f.Add(append(
		append(response(f, 1, &agentpb.InfoResponse{}), response(f, 3, &agentpb.StartResponse{Exec: make([]byte, 16)})...),
		response(f, 5, &agentpb.WaitResponse{Code: -1, Signal: 300})...), []byte("out"))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 3, 0}, []byte{})
	f.Fuzz(func(t *testing.T, control, output []byte) {
		host, guest := net.Pipe()
		go actAsGuest(guest, control, output)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := NewClient(ctx, host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Info(ctx)
		cmd := c.Command(ctx, "true")
		cmd.Stdin, cmd.Stdout = bytes.NewReader([]byte("input")), io.Discard
		if err := cmd.Run(); err == nil && len(control) == 0 {
			t.Error("a command ran without an answer")
		}
	})
}

// actAsGuest writes control to the first stream that the client opens and output to the others, and ends the session.
func actAsGuest(conn net.Conn, control, output []byte) {
	ready, err := welcome(conn)
	if err != nil {
		return
	}
	mux, err := yamux.Server(ready, sessionConfig())
	if err != nil {
		return
	}
	defer mux.Close()
	stream, err := mux.AcceptStream()
	if err != nil {
		return
	}
	go func() {
		for {
			stdio, err := mux.AcceptStream()
			if err != nil {
				return
			}
			stdio.Write(output)
			stdio.Close()
		}
	}()
	// The answers come as the requests do: a client that has nothing to ask reads none.
	go io.Copy(io.Discard, stream)
	stream.Write(control)
	stream.Close()
	stream.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	io.Copy(io.Discard, stream)
}

// greeted is the client's half of the handshake, by hand. It returns what has been read ahead.
func greeted(t testing.TB, host net.Conn) io.Reader {
	ready, err := greet(context.Background(), host)
	if err != nil {
		t.Error(err)
		return bytes.NewReader(nil)
	}
	return ready.(readAhead).Reader
}

// clientBytes records what a client sends after its handshake.
func clientBytes(f *testing.F, use func(*Client)) []byte {
	f.Helper()
	host, guest := net.Pipe()
	recorded := &recorder{Conn: host}
	go harmless().Serve(context.Background(), guest)
	c, err := NewClient(context.Background(), recorded)
	if err != nil {
		f.Fatal(err)
	}
	use(c)
	c.Close()
	text := recorded.text.Bytes()
	_, after, _ := bytes.Cut(text, []byte(" "+verbStart+" "))
	_, after, _ = bytes.Cut(after, []byte("\n"))
	return after
}

type recorder struct {
	net.Conn
	text bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.text.Write(b)
	return r.Conn.Write(b)
}

// request is a ttrpc frame.
func request(t testing.TB, id uint32, method string, m proto.Message) []byte {
	t.Helper()
	payload, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return frame(t, id, frameRequest, &ttrpc.Request{Service: "tandem.agent.v1.Agent", Method: method, Payload: payload})
}

func response(t testing.TB, id uint32, m proto.Message) []byte {
	t.Helper()
	payload, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return frame(t, id, frameResponse, &ttrpc.Response{Payload: payload})
}

func frame(t testing.TB, id uint32, kind byte, m proto.Message) []byte {
	t.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	b = binary.BigEndian.AppendUint32(b, id)
	return append(append(b, kind, 0), text...)
}
