package lab

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
)

const (
	// maxConsole bounds the console's log: what the lab's kernel says before the last so many bytes is forgotten.
	maxConsole = 4 << 20
	// tailSize is how much of an output's end is remembered to explain a failure.
	tailSize = 8 << 10
	// tailLines is how much of it is shown.
	tailLines = 15
)

// console keeps what the lab's kernel says, in a file for people to read and its end for errors.
type console struct {
	tail

	file *os.File
	size int
}

// newConsole begins the log at path.
func newConsole(path string) (*console, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &console{file: f}, nil
}

// Write never fails: a full disk must not stop the machine, which waits for its console to be read.
func (c *console) Write(b []byte) (int, error) {
	if c.size+len(b) > maxConsole {
		if err := c.file.Truncate(0); err == nil {
			_, _ = c.file.Seek(0, 0)
			c.size = 0
			_, _ = c.file.WriteString("[the log's beginning was dropped here]\n")
		}
	}
	n, _ := c.file.Write(b)
	c.size += n
	return c.tail.Write(b)
}

func (c *console) Close() error { return c.file.Close() }

// tail remembers the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(b), nil
}

// String returns the last lines, each on a line of its own and indented, for the end of a sentence.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(string(printable(t.text)), "\n")
	var kept []string
	for i := len(lines) - 1; i >= 0 && len(kept) < tailLines; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		return " nothing"
	}
	var b strings.Builder
	for i := len(kept) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "\n  %s", kept[i])
	}
	return b.String()
}

// printable drops what would act on the terminal of whoever reads the text.
func printable(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		return -1
	}, text)
}
