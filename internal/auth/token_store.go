package auth

import (
	"context"
	"time"
)

// Token is an API token as it is stored: its digest, never its text.
type Token struct {
	ID        string
	Name      string
	Digest    string // of the token's text, unique
	CreatedAt time.Time
}

// Store is what auth reads and writes.
type Store interface {
	TokenByDigest(ctx context.Context, digest string) (Token, error) // NotFound
	InsertToken(ctx context.Context, t Token) error                  // Conflict: digest known
	// ReplaceToken makes t the only token of its name. One whose digest is known
	// keeps its id and age, and takes the name.
	ReplaceToken(ctx context.Context, t Token) error
	CountTokens(ctx context.Context) (int, error)
}
