package check

import (
	"regexp"
	"strings"
)

// secretMarker begins the place-holder that stands for a stored secret (spec H.3).
const secretMarker = "__hcsecret__:"

var secretReference = regexp.MustCompile(`\$\{\{\s*secrets\.`)

// RefersToSecret reports whether a text of a config stands for a secret: it is a
// marker, or holds a reference such as ${{ secrets.NAME }} (spec H.3, L.115).
func RefersToSecret(text string) bool {
	return strings.HasPrefix(text, secretMarker) || secretReference.MatchString(text)
}
