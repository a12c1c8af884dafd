package main

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// sizeValue is a flag's number of bytes: "512M", "4G", "65536".
type sizeValue uint64

var sizeUnits = []struct {
	letter string
	shift  int
}{{"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}}

var errSize = errors.New("want a number of bytes, or one with K, M, G or T behind it, such as 512M")

// Set parses a size. The units are powers of 1024, and may be written out: 512MiB.
func (s *sizeValue) Set(text string) error {
	number, shift := strings.ToUpper(text), 0
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.letter); ok {
			number, shift = rest, u.shift
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || bits.Len64(n)+shift > 63 {
		return errSize
	}
	*s = sizeValue(n << shift)
	return nil
}

// String is the shortest form that Set reads back.
func (s *sizeValue) String() string {
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		if u := sizeUnits[i]; *s != 0 && uint64(*s)%(1<<u.shift) == 0 {
			return strconv.FormatUint(uint64(*s)>>u.shift, 10) + u.letter
		}
	}
	return strconv.FormatUint(uint64(*s), 10)
}

// Type names the value in the help.
func (*sizeValue) Type() string { return "SIZE" }

// choiceValue is a flag that takes one of a few words.
type choiceValue struct {
	value   string
	choices []string
}

// newChoice makes a flag's value whose default is the first choice.
func newChoice(choices ...string) *choiceValue {
	return &choiceValue{choices[0], choices}
}

func (c *choiceValue) Set(text string) error {
	for _, choice := range c.choices {
		if text == choice {
			c.value = text
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(c.choices, ", "))
}

func (c *choiceValue) String() string { return c.value }

func (c *choiceValue) Type() string { return strings.Join(c.choices, "|") }
