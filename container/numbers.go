package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// bitSet is a set of small numbers as the kernel takes it: an array of unsigned long, the lowest number the lowest bit.
type bitSet []byte

// parseNumbers reads numbers from 0 to below limit, as cpuset(7), "List format", has them: "0-3,7". The empty text is no
// set at all, nil. Spaces around the whole are allowed, as the kernel's own files end with a newline.
func parseNumbers(text string, limit int) (bitSet, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	words := make([]uint64, (limit+63)/64)
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := parseNumber(low, limit)
		if err != nil {
			return nil, err
		}
		last, err := parseNumber(high, limit)
		if err != nil {
			return nil, err
		}
		if first > last {
			return nil, fmt.Errorf("the range %q ends before it begins", part)
		}
		for n := first; n <= last; n++ {
			words[n/64] |= 1 << (n % 64)
		}
	}
	for words[len(words)-1] == 0 {
		words = words[:len(words)-1]
	}
	var set bitSet
	for _, w := range words {
		set = binary.NativeEndian.AppendUint64(set, w)
	}
	return set, nil
}

func parseNumber(text string, limit int) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n >= uint64(limit):
		return 0, fmt.Errorf("the number %q, at most %d", text, limit-1)
	case err != nil || text[0] == '+':
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return int(n), nil
}
