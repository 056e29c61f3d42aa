import { localized } from '../../words/localized.ts';

export const words = localized({
  roles: 'Roles',
  permissions: 'Permissions',
  limited: (on: string) => `within ${on}`,
  whatIsAsked: 'what you are asked',
  sessions: 'Sessions',
  current: 'this one',
  opened: 'logged in',
  used: 'last used',
  until: 'until',
  from: 'from',
  end: 'End',
  endAll: 'End all others',
  logOut: 'Log out',
  settings: 'This browser',
  theme: 'Colors',
  themes: { system: 'As the system', light: 'Light', dark: 'Dark' },
  density: 'Rows',
  densities: { normal: 'Normal', dense: 'Dense' },
  letters: 'Single letters are shortcuts',
  noSessions: 'You have no sessions.',
});
