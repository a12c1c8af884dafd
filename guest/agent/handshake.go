package agent

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A byte stream between host and guest may be a serial line. Either end may come first, a line that nobody has set up
// yet echoes, and what an earlier session left may still be on its way. So a session begins with four lines of text,
// and each end throws away everything up to the line that it waits for:
//
//	client                                         server
//	  ...... hello 5d1c...   (again and again) ......>
//	  <..... here 5d1c...    (once for each hello) ..
//	  ------ start 5d1c...   (once) ----------------->   all after it is the session's
//	  <----- ready 5d1c...   (once) ------------------   all after it is the session's
//
// The word after the verb is the client's nonce. It tells these lines from an earlier client's, and as start and ready
// are said once for a nonce, no second copy of either can appear in the middle of the session. Lines begin and end
// with a newline, to be told from the rubbish before them, and hold nothing that a terminal line would change.
const (
	protocol = "tandem-agent"
	version  = "1"

	verbHello = "hello"
	verbHere  = "here"
	verbStart = "start"
	verbReady = "ready"
)

// Limits of the handshake.
const (
	helloInterval = 200 * time.Millisecond
	maxLine       = 128
	// maxNoise is how much a client throws away before it decides that this is some other stream.
	maxNoise = 4 << 20
)

var (
	// ErrNoAgent is a byte stream whose other end is no agent.
	ErrNoAgent = errors.New("no agent answers")
	// ErrVersion is an agent that speaks another version of the protocol.
	ErrVersion = errors.New("protocol version mismatch")
)

// hail is one line of the handshake.
type hail struct{ version, verb, nonce string }

func (h hail) String() string {
	return fmt.Sprintf("\n%s/%s %s %s\n", protocol, h.version, h.verb, h.nonce)
}

// parseHail reads a line without its newline.
func parseHail(line string) (h hail, ok bool) {
	words := strings.Fields(line)
	if len(words) != 3 {
		return h, false
	}
	name, version, ok := strings.Cut(words[0], "/")
	return hail{version, words[1], words[2]}, ok && name == protocol
}

// lineReader reads lines from a stream that may hold anything.
type lineReader struct {
	r     *bufio.Reader
	noise int // bytes that it may still read, if not negative
}

func newLineReader(r io.Reader, noise int) *lineReader {
	return &lineReader{r: bufio.NewReader(r), noise: noise}
}

// next returns the next line that is a hail.
func (l *lineReader) next() (hail, error) {
	for {
		line, err := l.line()
		if err != nil {
			return hail{}, err
		}
		if h, ok := parseHail(line); ok {
			return h, nil
		}
	}
}

// line returns the next line's first bytes; it reads nothing beyond the newline.
func (l *lineReader) line() (string, error) {
	var line []byte
	for {
		b, err := l.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case l.noise == 0:
			return "", fmt.Errorf("%w: the stream holds something else", ErrNoAgent)
		case l.noise > 0:
			l.noise--
		}
		if b == '\n' {
			return string(line), nil
		}
		if len(line) < maxLine {
			line = append(line, b)
		}
	}
}

// greet is the client's half. It returns conn with what has been read ahead, ready for the session.
func greet(ctx context.Context, conn io.ReadWriteCloser) (io.ReadWriteCloser, error) {
	defer closeOn(ctx, conn)()
	lines := newLineReader(conn, maxNoise)
	nonce := newNonce()
	if err := repeatHello(conn, lines, nonce); err != nil {
		return nil, greetError(ctx, err)
	}
	if _, err := io.WriteString(conn, hail{version, verbStart, nonce}.String()); err != nil {
		return nil, greetError(ctx, err)
	}
	if err := awaitHail(lines, verbReady, nonce); err != nil {
		return nil, greetError(ctx, err)
	}
	return readAhead{lines.r, conn}, nil
}

// repeatHello says hello until the answer comes. No hello is under way when it returns.
func repeatHello(conn io.Writer, lines *lineReader, nonce string) error {
	answered, said := make(chan struct{}), make(chan error, 1)
	go func() {
		again := time.NewTicker(helloInterval)
		defer again.Stop()
		for {
			if _, err := io.WriteString(conn, hail{version, verbHello, nonce}.String()); err != nil {
				said <- err
				return
			}
			select {
			case <-answered:
				said <- nil
				return
			case <-again.C:
			}
		}
	}()
	if err := awaitHail(lines, verbHere, nonce); err != nil {
		close(answered)
		return err
	}
	close(answered)
	return <-said
}

// awaitHail throws everything away up to the server's line with that verb.
func awaitHail(lines *lineReader, verb, nonce string) error {
	for {
		h, err := lines.next()
		switch {
		case err != nil:
			return err
		case h.nonce != nonce || h.verb == verbHello: // an earlier client's, or a terminal's echo
		case h.version != version:
			return fmt.Errorf("%w: the agent speaks %.20q, this is %s", ErrVersion, h.version, version)
		case h.verb == verb:
			return nil
		}
	}
}

// welcome is the server's half. It waits for a client for as long as the stream is open.
func welcome(conn io.ReadWriteCloser) (io.ReadWriteCloser, error) {
	lines := newLineReader(conn, -1)
	var client string // the nonce of the client that said hello last
	for {
		h, err := lines.next()
		if err != nil {
			return nil, err
		}
		switch {
		case h.verb == verbHello:
			client = h.nonce
			if _, err := io.WriteString(conn, hail{version, verbHere, client}.String()); err != nil {
				return nil, err
			}
		case h.verb == verbStart && h.nonce == client && h.version == version:
			if _, err := io.WriteString(conn, hail{version, verbReady, client}.String()); err != nil {
				return nil, err
			}
			return readAhead{lines.r, conn}, nil
		}
	}
}

// readAhead is a stream whose first bytes have been read into a buffer.
type readAhead struct {
	*bufio.Reader
	conn io.ReadWriteCloser
}

func (r readAhead) Write(b []byte) (int, error) { return r.conn.Write(b) }
func (r readAhead) Close() error                { return r.conn.Close() }

func newNonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func greetError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrNoAgent, context.Cause(ctx))
	}
	return err
}

// closeOn closes c when ctx ends, which is what ends a Read or Write of it. The function that it returns calls that off.
func closeOn(ctx context.Context, c io.Closer) func() bool {
	return context.AfterFunc(ctx, func() { c.Close() })
}
