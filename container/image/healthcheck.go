package image

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Healthcheck is how to find out whether what runs in a container does its work: the instruction HEALTHCHECK of a
// Dockerfile. The OCI image specification reserves its name (config.md, "Healthcheck") and leaves it to docker, whose form
// this is. What is zero is left to who runs the image.
type Healthcheck struct {
	// Test is a command behind the word CMD, or a line for a shell behind CMD-SHELL. NONE is no test.
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"` // from the end of one test to the next
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`   // in which a test that fails does not count
	StartInterval time.Duration `json:"StartInterval,omitempty"` // in the place of Interval, in that time
	Retries       int           `json:"Retries,omitempty"`       // so many that fail in a row are ill health
}

// parseHealthcheck reads that of an image's configuration, nil if it has none.
func parseHealthcheck(config []byte) (*Healthcheck, error) {
	var c struct {
		Config struct {
			Healthcheck *Healthcheck `json:"Healthcheck"`
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("the image's healthcheck: %w: %w", ErrFormat, err)
	}
	return c.Config.Healthcheck, nil
}
