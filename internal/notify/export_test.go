package notify

import "net/http"

// SendBy has the service send by another client.
func (s *Service) SendBy(c *http.Client) { s.http = c }
