package main

import (
	"bytes"
	"sync"
)

// tailSize is how much of a console is kept for when a guest ends badly: some thirty lines.
const tailSize = 4 << 10

// tailBuffer keeps the end of what is written to it. A nil one is empty.
type tailBuffer struct {
	mu   sync.Mutex
	data []byte
	cut  bool // its first line is a part
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - tailSize; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
		t.cut = true
	}
	return len(p), nil
}

// String is the last whole lines, each ended by a newline alone.
func (t *tailBuffer) String() string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.data
	if t.cut {
		_, text, _ = bytes.Cut(text, []byte{'\n'})
	}
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte{'\r'}, nil))
	if len(text) == 0 {
		return ""
	}
	return string(text) + "\n"
}
