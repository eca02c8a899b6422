package check

import "fmt"

// Qualified ids of the composite strategy and its collector. The original has none.
const (
	Composite        = "healthcheck-composite.composite"
	CompositeJourney = "healthcheck-composite.journey"
)

// Carried is the first part of the names of values that a journey carries from step to
// step: {{ carried.token }}.
const Carried = "carried"

func init() {
	journey := collector[JourneyConfig, JourneyResult](CompositeJourney, "Journey", true)
	journey.Roots = []string{Carried}
	register(strategy[HTTPConfig](Composite, "Several HTTP requests", true), journey)
}

// JourneyConfig is the config of healthcheck-composite.journey: requests that are made
// one after the other, with the cookies of those before. The first that does not find
// what it wants ends it.
type JourneyConfig struct {
	// The requests, in their order.
	Steps []JourneyStep `json:"steps" jsonschema:"title=Steps,required,minItems=1,maxItems=50"`
	// The most that all of them may take, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *JourneyConfig) defaults() { c.Timeout = 30_000 }

// JourneyStep is one request and what is wanted of its answer.
type JourneyStep struct {
	// What people call it.
	Name string `json:"name" jsonschema:"title=Name,required,minLength=1"`
	// What to ask for. {{ carried.NAME }} is what an earlier step carried out of its answer.
	URL string `json:"url" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// Request method; GET if empty.
	Method string `json:"method,omitempty" jsonschema:"title=Method,enum=,enum=GET,enum=POST,enum=PUT,enum=PATCH,enum=DELETE,enum=HEAD"`
	// Request headers.
	Headers []HTTPHeader `json:"headers,omitempty" jsonschema:"title=Headers"`
	// Request body.
	Body string `json:"body,omitempty" jsonschema:"title=Body" check:"templatable"`
	// Status that is wanted; any of 200 to 399 if 0.
	ExpectStatus int `json:"expectStatus,omitempty" jsonschema:"title=Status,minimum=0,maximum=599"`
	// Text that the body must contain.
	ExpectText string `json:"expectText,omitempty" jsonschema:"title=Text in the body" check:"templatable"`
	// What is carried to later steps.
	Carry []JourneyValue `json:"carry,omitempty" jsonschema:"title=Values carried on"`
}

// JourneyValue is one value that is taken out of an answer: by JSONPath out of the body,
// by a regular expression out of the body, or a header. One of the three is given.
type JourneyValue struct {
	// What later steps call it.
	Name string `json:"name" jsonschema:"title=Name,required,minLength=1,format=name"`
	// JSONPath of the value in the body, such as $.token.
	JSONPath string `json:"jsonPath,omitempty" jsonschema:"title=JSONPath"`
	// Regular expression over the body; its first group is the value, or all of it.
	Pattern string `json:"pattern,omitempty" jsonschema:"title=Pattern"`
	// Name of the header that holds the value.
	Header string `json:"header,omitempty" jsonschema:"title=Header"`
}

// valid holds the steps against what no tag can say.
func (c JourneyConfig) valid() error {
	if len(c.Steps) == 0 {
		return fmt.Errorf("steps must not be empty")
	}
	for i, step := range c.Steps {
		for j, v := range step.Carry {
			given := 0
			for _, text := range []string{v.JSONPath, v.Pattern, v.Header} {
				if text != "" {
					given++
				}
			}
			if given != 1 {
				return fmt.Errorf("steps[%d].carry[%d] must have one of jsonPath, pattern and header", i, j)
			}
		}
	}
	return nil
}

// JourneyResult is how far a journey came.
type JourneyResult struct {
	// All steps found what they want.
	Success     bool `json:"success"`
	StepCount   int  `json:"stepCount"`
	StepsPassed int  `json:"stepsPassed"`
	// Name of the step that ended it.
	FailedStep string `json:"failedStep,omitempty"`
	// Of the last answer.
	StatusCode int `json:"statusCode,omitempty"`
	// Of all steps together.
	ResponseTimeMs float64 `json:"responseTimeMs"`
	// How long each step took, as far as it came.
	Steps []JourneyStepResult `json:"steps"`
	// The beginning of the last body. Not stored.
	Body string `json:"body" check:"ephemeral"`
}

// JourneyStepResult is one step.
type JourneyStepResult struct {
	Name           string  `json:"name"`
	StatusCode     int     `json:"statusCode,omitempty"`
	ResponseTimeMs float64 `json:"responseTimeMs"`
}
