"The metadata stands in settings.ini; pyproject.toml says how to build."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg, readme = config['DEFAULT'], Path('README.md')

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'].split(), author=cfg['author'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '', long_description_content_type='text/markdown',
    license='Apache-2.0', python_requires='>=' + cfg['min_python'],
    classifiers=['Development Status :: 4 - Beta', 'Intended Audience :: Developers', 'Programming Language :: Python :: 3'],
    packages=find_packages(include=['layoutdiff', 'layoutdiff.*']), package_data={'layoutdiff': ['*.js', 'sample/**/*', 'base/**/*']},
    include_package_data=False,
    install_requires=cfg['requirements'].split(),
    extras_require={'dev': cfg['dev_requirements'].split(), **{k.removeprefix('extra_'): v.split() for k, v in cfg.items() if k.startswith('extra_')}},
    entry_points={'console_scripts': [cfg['console_scripts']], 'nbdev': ['layoutdiff=layoutdiff._modidx:d']},
    zip_safe=False)
