package box

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

const logFile = "log"

// Entry is a line of a log's, or a part of one that is longer than maxEntry. A log is a file of them, as JSON, one a line:
// the form of docker's json-file.
type Entry struct {
	Text   string    `json:"log"` // with its newline
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

const (
	maxEntry = 16 << 10
	// maxLog is the size at which a log is begun anew. The one before is kept beside it, and no other.
	maxLog = 32 << 20
	older  = ".1"
)

// Log is where a detached box's output goes. Several streams may write to it at the same time.
type Log struct {
	path    string
	readers sync.WaitGroup

	mu   sync.Mutex
	file *os.File
	size int64
	torn bool  // it ends in a part of an entry: the disk was full, or a keeper killed
	err  error // the first one: a full disk, say. The box goes on, and is read on
}

// OpenLog begins a log, or goes on with one.
func OpenLog(path string) (*Log, error) {
	l := &Log{path: path}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	last := []byte{'\n'}
	if err == nil && info.Size() > 0 {
		_, err = f.ReadAt(last, info.Size()-1)
	}
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size, l.torn = f, info.Size(), last[0] != '\n'
	return nil
}

// Copy puts down what r reads, to its end.
func (l *Log) Copy(stream string, r io.Reader) {
	lines := bufio.NewReaderSize(r, maxEntry)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			l.put(Entry{string(line), stream, time.Now().UTC()})
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (l *Log) put(e Entry) {
	text, err := json.Marshal(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.size > maxLog {
		err = l.rotate()
	}
	if err == nil {
		if text = append(text, '\n'); l.torn { // or readers would leave this one out as well
			text = append([]byte{'\n'}, text...)
		}
		var n int
		n, err = l.file.Write(text)
		l.size += int64(n)
		if n > 0 {
			l.torn = n < len(text)
		}
	}
	if l.err == nil {
		l.err = err
	}
}

func (l *Log) rotate() error {
	if err := os.Rename(l.path, l.path+older); err != nil {
		return err
	}
	old := l.file
	if err := l.open(); err != nil {
		return errors.Join(err, os.Rename(l.path+older, l.path)) // for the next time
	}
	return old.Close()
}

// Close tells what went wrong first.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}

// readEntries calls f for each whole entry, and gives the number of bytes that they take.
func readEntries(r io.Reader, f func(Entry) error) (int64, error) {
	lines := bufio.NewReaderSize(r, 8*maxEntry) // each byte of a text may take six in JSON
	var done int64
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil { // what has no newline is being written
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return done, err
		}
		var e Entry
		if json.Unmarshal(bytes.TrimSpace(line), &e) == nil { // a line that a crash cut in two is left out
			if err := f(e); err != nil {
				return done, err
			}
		}
		done += int64(len(line))
	}
}
