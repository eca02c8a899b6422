package script

import _ "embed"

// Types is perigee.d.ts: what scripts find in the runtime here, as TypeScript declares
// it, for the editors of people and of the page.
//
//go:embed perigee.d.ts
var Types string
