package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ErrInvalid is what every error about a document's contents is, for errors.Is.
var ErrInvalid = errors.New("invalid config")

// Read reads and checks the Config in a file. A missing file is an error that is fs.ErrNotExist.
func Read(path string) (*Config, error) { return readFile(path, Parse) }

// readFile reads a document.
func readFile[T any](path string, parse func([]byte) (*T, error)) (*T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("config: read %s: %w", path, err)
	}
	v, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", path, err)
	}
	return v, nil
}

// Parse reads and checks a document.
func Parse(text []byte) (*Config, error) {
	c := new(Config)
	if err := decode(text, c); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// decode reads a document whose keys are all known, and given once.
func decode(text []byte, v any) error {
	if len(text) > MaxSize {
		return fmt.Errorf("%w: %d bytes, at most %d are read", ErrInvalid, len(text), MaxSize)
	}
	if err := checkKeys(text); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Encode checks c and writes it as a document that Parse reads back.
func (c *Config) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("config: encode: %w", err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("config: encode: %w", err)
	}
	if text = append(text, '\n'); len(text) > MaxSize {
		return nil, fmt.Errorf("config: encode: %w: %d bytes, at most %d are read", ErrInvalid, len(text), MaxSize)
	}
	return text, nil
}

// checkKeys refuses what encoding/json lets pass: a key given twice (the last would win), a key in other letters than
// ours (it matches without regard to case), and anything after the document's end.
func checkKeys(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := checkValue(d, "", maxDepth); err != nil {
		return err
	}
	switch token, err := d.Token(); {
	case err == nil:
		return fmt.Errorf("%v after the end", token)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("after the end: %w", err)
	}
}

// maxDepth is that of Config's deepest value, console.command[0], and a little more.
const maxDepth = 8

// checkValue consumes one value, with at most depth more inside one another: the decoder has no limit of its own.
func checkValue(d *json.Decoder, at string, depth int) error {
	token, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if depth == 0 {
		return fmt.Errorf("%s: nested too deep", at)
	}
	switch token {
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			if err := checkValue(d, fmt.Sprintf("%s[%d]", at, i), depth-1); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := make(map[string]bool)
		for d.More() {
			if err := checkMember(d, at, depth, seen); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token() // the closing delimiter
	return noEOF(err)
}

func checkMember(d *json.Decoder, at string, depth int, seen map[string]bool) error {
	token, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	key, _ := token.(string)
	path := strings.TrimPrefix(at+"."+key, ".")
	if seen[key] {
		return fmt.Errorf("key %q given twice", path)
	}
	seen[key] = true
	if strings.ContainsFunc(key, notInKeys) {
		return fmt.Errorf("unknown key %q", path)
	}
	return checkValue(d, path, depth-1)
}

// notInKeys tells the runes that no key of Config holds.
func notInKeys(r rune) bool { return (r < 'a' || r > 'z') && r != '_' }

// noEOF makes an end of input within a value what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
