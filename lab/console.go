package lab

import (
	"bytes"
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

// panicMark begins the line with which a kernel says why it gives up; what it knows about it follows.
const panicMark = "Kernel panic"

// String returns the last lines, or those from a panic on, each on a line of its own and indented, for the end of a
// sentence.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(printable(t.text))
	at := strings.LastIndex(text, panicMark)
	if at >= 0 {
		text = text[strings.LastIndexByte(text[:at], '\n')+1:]
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	switch extra := len(lines) - tailLines; {
	case len(lines) == 0:
		return " nothing"
	case extra > 0 && at >= 0:
		lines = lines[:tailLines]
	case extra > 0:
		lines = lines[extra:]
	}
	return "\n  " + strings.Join(lines, "\n  ")
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
