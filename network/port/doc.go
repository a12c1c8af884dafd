// Package port knows published ports: how they are written, who has them, and how they are kept.
package port
