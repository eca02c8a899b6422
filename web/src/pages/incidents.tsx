export const Incidents = () => null;
export const Incident = () => null;
