package box

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What goes between a keeper and those who are attached to its box: a byte that says what it is, four for how long, and
// that many.
type frameKind byte

const (
	frameInput  frameKind = 'i' // to the keeper: standard input, or the terminal's; nothing is its end
	frameSize   frameKind = 'w' // to the keeper: the terminal's rows and columns, two bytes each
	frameStdout frameKind = 'o'
	frameStderr frameKind = 'e'
	frameEnd    frameKind = 'x' // how the box ended, an Exit as JSON
)

const (
	frameHeader = 5
	maxFrame    = 64 << 10
)

var errFrame = errors.New("broken frame")

func appendFrame(b []byte, kind frameKind, payload []byte) []byte {
	b = append(b, byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// readFrame reads one. The end of the stream between two is io.EOF.
func readFrame(r io.Reader) (frameKind, []byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(header[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d may be", errFrame, n, maxFrame)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return frameKind(header[0]), payload, nil
}

// writeFrames writes a stream's bytes, in as many frames as it takes.
func writeFrames(w io.Writer, kind frameKind, p []byte) error {
	for len(p) > 0 {
		part := p[:min(len(p), maxFrame)]
		if _, err := w.Write(appendFrame(nil, kind, part)); err != nil {
			return err
		}
		p = p[len(part):]
	}
	return nil
}
