package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// A supervisor whose lab fails writes down why before it lets go of its clients, in a file of its own: the next one may
// be started before everybody has read it.

// failurePrefix is followed by the supervisor's process number.
const failurePrefix = "failure-"

// failureAge is for how long a failure is of interest to somebody who was there.
const failureAge = time.Minute

func (d dir) failureFile(supervisor int) string {
	return d.file(failurePrefix + strconv.Itoa(supervisor))
}

// writeFailure puts it on record why a supervisor's lab failed.
func (d dir) writeFailure(supervisor int, why error) error {
	return os.WriteFile(d.failureFile(supervisor), []byte(why.Error()), 0o600)
}

// failure is why a supervisor's lab failed, or nil if that is not on record.
func (d dir) failure(supervisor int) error {
	reason, err := os.ReadFile(d.failureFile(supervisor))
	if err != nil {
		return nil
	}
	return errors.New(string(reason))
}

// forgetFailures removes what is on record and older than that.
func (d dir) forgetFailures(age time.Duration) error {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), failurePrefix) {
			continue
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) >= age {
			err = os.Remove(d.file(e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// died is the error of who used a lab that is gone, with the reason if one is on record.
func (d dir) died(supervisor int) error {
	if reason := d.failure(supervisor); reason != nil {
		return fmt.Errorf("%w: %w", ErrDied, reason)
	}
	return ErrDied
}
