package layer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A list of entries is text, an entry a line. Names may hold any byte, so they are quoted as in Go:
//
//	- 4755 0:0 54192 1700000000.000000000 "usr/bin/su"
//	d 0755 0:0 0 1700000000.000000000 "etc/apt" opaque
//	l 0777 0:0 0 1700000000.000000000 "bin" link="usr/bin"
//	c 0666 0:0 0 1700000000.000000000 "dev/null" device=1:3
//	- 0755 0:0 71912 1700000000.000000000 "usr/bin/ping" xattr="security.capability" "\x01\x00..."

// AppendText appends the entry's line to b, with its end.
func (e Entry) AppendText(b []byte) []byte {
	b = append(b, byte(e.Kind), ' ')
	b = fmt.Appendf(b, "%04o ", e.Mode)
	b = strconv.AppendUint(b, uint64(e.UID), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(e.GID), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Size, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.ModTime.Unix(), 10)
	b = fmt.Appendf(b, ".%09d ", e.ModTime.Nanosecond())
	b = strconv.AppendQuoteToASCII(b, e.Path)
	if e.Link != "" {
		b = append(b, " link="...)
		b = strconv.AppendQuoteToASCII(b, e.Link)
	}
	if e.Kind == Char || e.Kind == Block {
		b = fmt.Appendf(b, " device=%d:%d", e.Major, e.Minor)
	}
	if e.Opaque {
		b = append(b, " opaque"...)
	}
	if e.Implied {
		b = append(b, " implied"...)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		b = append(b, " xattr="...)
		b = strconv.AppendQuoteToASCII(b, name)
		b = append(b, ' ')
		b = strconv.AppendQuoteToASCII(b, e.Xattrs[name])
	}
	return append(b, '\n')
}

var errLine = errors.New("not the line of an entry")

// ParseEntry reads a line that AppendText has made.
func ParseEntry(line string) (Entry, error) {
	p := lineParser{rest: strings.TrimSuffix(line, "\n")}
	var e Entry
	kind := p.word(' ')
	if len(kind) != 1 || !strings.ContainsRune("-dlhcbpw", rune(kind[0])) {
		return Entry{}, fmt.Errorf("layer: parse %.100q: kind %q: %w", line, kind, errLine)
	}
	e.Kind = Kind(kind[0])
	e.Mode = uint32(p.number(' ', 8, 12))
	e.UID = uint32(p.number(':', 10, 32))
	e.GID = uint32(p.number(' ', 10, 32))
	e.Size = int64(p.number(' ', 10, 63))
	seconds := p.signed('.')
	e.ModTime = time.Unix(seconds, int64(p.number(' ', 10, 30)))
	e.Path = p.quoted()
	for p.err == nil && p.rest != "" {
		switch {
		case p.skip(" link="):
			e.Link = p.quoted()
		case p.skip(" device="):
			e.Major = uint32(p.number(':', 10, 12))
			minor, rest, more := strings.Cut(p.rest, " ")
			p.rest = minor
			e.Minor = uint32(p.number(' ', 10, 20))
			if more {
				p.rest = " " + rest
			}
		case p.skip(" opaque"):
			e.Opaque = true
		case p.skip(" implied"):
			e.Implied = true
		case p.skip(" xattr="):
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			name := p.quoted()
			if !p.skip(" ") {
				p.err = errLine
			}
			e.Xattrs[name] = p.quoted()
		default:
			p.err = errLine
		}
	}
	if p.err != nil {
		return Entry{}, fmt.Errorf("layer: parse %.100q: %w", line, p.err)
	}
	return e, nil
}

type lineParser struct {
	rest string
	err  error
}

// word takes what is before the separator, and the separator if there is one.
func (p *lineParser) word(separator byte) string {
	i := strings.IndexByte(p.rest, separator)
	if i < 0 {
		i = len(p.rest)
	}
	word := p.rest[:i]
	p.rest = strings.TrimPrefix(p.rest[i:], string(separator))
	return word
}

func (p *lineParser) number(separator byte, base, bits int) uint64 {
	n, err := strconv.ParseUint(p.word(separator), base, bits)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n
}

func (p *lineParser) signed(separator byte) int64 {
	n, err := strconv.ParseInt(p.word(separator), 10, 64)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n
}

func (p *lineParser) quoted() string {
	prefix, err := strconv.QuotedPrefix(p.rest)
	if err == nil {
		p.rest = p.rest[len(prefix):]
		prefix, err = strconv.Unquote(prefix)
	}
	if err != nil && p.err == nil {
		p.err = err
	}
	return prefix
}

func (p *lineParser) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	p.rest = rest
	return ok
}

// ReadList calls f with each entry of a list.
func ReadList(r io.Reader, f func(Entry) error) error {
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("layer: parse %.100q: %w: %w", line, errLine, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		e, err := ParseEntry(line)
		if err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}
