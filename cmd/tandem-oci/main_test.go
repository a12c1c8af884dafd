package main

import (
	"os"
	"testing"

	"tandem/internal/testenv"
)

func TestMain(m *testing.M) {
	if message := os.Getenv(sayVariable); message != "" {
		os.Exit(say(message))
	}
	testenv.MainHostWide(m)
}
