export const Automations = () => null;
export const Automation = () => null;
export const AutomationRun = () => null;
