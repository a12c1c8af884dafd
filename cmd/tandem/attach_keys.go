package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// keysFlag is --detach-keys.
type keysFlag struct {
	text  string
	codes []byte
}

// defaultDetachKeys are docker's.
const defaultDetachKeys = "ctrl-p,ctrl-q"

func (k *keysFlag) register(flags *pflag.FlagSet, when string) {
	if err := k.Set(defaultDetachKeys); err != nil {
		panic(err) // they are ours
	}
	flags.Var(k, "detach-keys", "`KEYS` that leave it running"+when+": characters, or ctrl- and one, with commas between them")
}

func (k *keysFlag) Set(text string) (err error) {
	k.text = text
	k.codes, err = parseKeys(text)
	return err
}

func (k *keysFlag) String() string { return k.text }

func (*keysFlag) Type() string { return "KEYS" }

// parseKeys reads characters, and ctrl- with one of a to z, @, [, \\, ], ^ and _ behind it, which are the codes from 0 on.
func parseKeys(text string) ([]byte, error) {
	var keys []byte
	for _, word := range strings.Split(text, ",") {
		if text == "" {
			break // no keys leave it
		}
		code, control := strings.CutPrefix(word, "ctrl-")
		if len(code) != 1 {
			return nil, fmt.Errorf("%q is no character, and not ctrl- with one behind it", word)
		}
		key := code[0]
		if control {
			if key >= 'a' && key <= 'z' {
				key -= 'a' - 'A'
			}
			if key < '@' || key > '_' {
				return nil, fmt.Errorf("there is no %s", word)
			}
			key -= '@'
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// keyReader reads what is typed, up to some keys in a row, which are an error. Those that may become them are held back.
type keyReader struct {
	r    io.Reader
	keys []byte
	held []byte
	out  bytes.Buffer
	err  error
}

func (k *keyReader) Read(p []byte) (int, error) {
	for k.out.Len() == 0 {
		if k.err != nil {
			return 0, k.err
		}
		typed := make([]byte, len(p))
		n, err := k.r.Read(typed)
		for _, c := range typed[:n] {
			if k.take(c) {
				err = errDetach
				break
			}
		}
		k.err = err
	}
	return k.out.Read(p)
}

// take tells whether that was the last of the keys. What is held back is as long a beginning of them as there is.
func (k *keyReader) take(c byte) bool {
	k.held = append(k.held, c)
	for !bytes.HasPrefix(k.keys, k.held) {
		k.out.WriteByte(k.held[0])
		k.held = k.held[1:]
	}
	return len(k.keys) > 0 && len(k.held) == len(k.keys)
}
