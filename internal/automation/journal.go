package automation

// journal is what was written about a run: its steps in the order in which they began, each
// found by its path, of which there are up to maxSteps.
type journal struct {
	steps []Step
	at    map[string]int // where in steps, by path
}

func journalOf(steps []Step) journal {
	j := journal{steps, make(map[string]int, len(steps))}
	for i, s := range steps {
		j.at[s.Path] = i
	}
	return j
}

// put writes a step over what it was, or behind all others.
func (j *journal) put(s Step) {
	if i, known := j.at[s.Path]; known {
		j.steps[i] = s
		return
	}
	if j.at == nil {
		j.at = map[string]int{}
	}
	j.at[s.Path] = len(j.steps)
	j.steps = append(j.steps, s)
}
