import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Audit' });

export const screen: Screen = {
  paths: ['/audit'],
  title,
  needs: 'audit:read',
  menu: { at: 10, key: 'd' },
  load: () => import('./Screen.svelte'),
};
