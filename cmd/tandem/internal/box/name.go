package box

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"tandem/internal/pattern"
)

// Errors that callers tell apart.
var (
	ErrName      = errors.New("invalid name")
	ErrTaken     = errors.New("name is taken")
	ErrNotFound  = errors.New("no such container")
	ErrAmbiguous = errors.New("more than one container is meant")
	ErrRunning   = errors.New("container is running")
	ErrStopped   = errors.New("container is not running")
)

var namePattern = pattern.New(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,63}$`)

// CheckName tells whether a box can be called so.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%w %q: want 2 to 64 letters, digits, '_', '.', '-', the first no sign", ErrName, name)
	}
	return nil
}

// idBytes are those of a box's ID, which is written in hexadecimal digits.
const idBytes = 32

func newID() string {
	b := make([]byte, idBytes)
	rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// ShortID is an ID as it is shown to people.
func ShortID(id string) string { return id[:min(len(id), 12)] }

var (
	qualities = []string{
		"able", "bold", "brisk", "calm", "clear", "deft", "eager", "even", "fair", "fleet", "fond", "glad", "keen", "kind", "light", "lively",
		"merry", "mild", "neat", "noble", "plain", "proud", "quick", "quiet", "ready", "sharp", "sound", "spry", "steady", "sunny", "swift", "warm",
	}
	riders = []string{
		"badger", "beaver", "crane", "curlew", "dipper", "falcon", "ferret", "finch", "gannet", "hare", "heron", "kestrel", "lark", "linnet", "lynx",
		"marten", "merlin", "newt", "osprey", "otter", "plover", "puffin", "raven", "robin", "seal", "shrew", "stoat", "swift", "tern", "vole", "weasel", "wren",
	}
)

// newName is one that is easy to say, for a box that was not given any.
func newName() string { return pick(qualities) + "_" + pick(riders) }

func pick(words []string) string {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
	if err != nil {
		panic(err) // crypto/rand has none to give
	}
	return words[n.Int64()]
}
